"""Ranks where they are warranted: methods that no test tells apart share them."""

from collections.abc import Collection, Iterable, Sequence
from itertools import product
from string import ascii_lowercase
from typing import NamedTuple

Pair = tuple[str, str]


class Rank(NamedTuple):
    """The ranks that a method may hold, from 1, and the letters of the groups that it belongs to.

    Attributes:
        best: one more than the number of methods that are separated from it and above it.
        worst: the number of methods less those that are separated from it and below it.
        group: letters; two methods share one exactly where they are not separated.
    """

    best: int
    worst: int
    group: str


def rank(methods: Sequence[str], better: Iterable[Pair]) -> dict[str, Rank]:
    """Return each method's ranks.

    Args:
        methods: the highest first.
        better: the pairs (better, worse) that a test tells apart.
    """
    pairs = set(better)
    letters = group_letters(methods, pairs)
    return {
        name: Rank(
            best=1 + sum(worse == name for _, worse in pairs),
            worst=len(methods) - sum(better == name for better, _ in pairs),
            group=letters[name],
        )
        for name in methods
    }


def group_letters(methods: Sequence[str], separated: Collection[Pair]) -> dict[str, str]:
    """Return a compact letter display (Piepho 2004, doi:10.1198/1061860043515, "insert and absorb").

    Two methods have a letter in common exactly where they are not separated.
    """
    groups = [frozenset(methods)]
    for one, two in sorted(separated):
        whole = [group for group in groups if {one, two} <= group]
        parts = [group - {name} for group, name in product(whole, (one, two))]
        groups = _absorbed([group for group in groups if group not in whole] + parts)
    place = {name: number for number, name in enumerate(methods)}
    groups.sort(key=lambda group: sorted(place[name] for name in group))
    return {
        name: "".join(_letter(number) for number, group in enumerate(groups) if name in group)
        for name in methods
    }


def _absorbed(groups: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    """Leave out groups that lie within others."""
    unique = list(dict.fromkeys(groups))
    return [group for group in unique if not any(group < other for other in unique)]


def _letter(number: int) -> str:
    """Return a, b … z, and from then on a1, b1 …"""
    turn, place = divmod(number, len(ascii_lowercase))
    return ascii_lowercase[place] + (str(turn) if turn else "")
