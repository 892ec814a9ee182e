"""Which words differ between the two responses of a pair."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from medpref.pairs.pair import Change

_WORD = re.compile(r"\w+|[^\w\s]")
_LEAST_SHARED = 0.3
"""Responses that share less of their words differ as a whole, and marks would not help."""


class Piece(NamedTuple):
    """A stretch of a response; `error` names what is wrong with it where that is known, else is empty."""

    text: str
    marked: bool
    error: str = ""


Pieces = tuple[Piece, ...]
_Span = tuple[int, int, str]


def mark(chosen: str, rejected: str, changes: Sequence[Change] = ()) -> tuple[Pieces, Pieces]:
    """Return both responses in pieces, with the words marked that differ.

    They are those of the known `changes`, as far as these fit the texts, or else those of a comparison by
    words, which does not look at case.
    """
    known = [change for change in changes if rejected[change.start : change.end] == change.now]
    spans = _known(chosen, known) if known else _compared(chosen, rejected)
    return _pieces(chosen, spans[0]), _pieces(rejected, spans[1])


def _known(chosen: str, changes: Sequence[Change]) -> tuple[list[_Span], list[_Span]]:
    was: list[_Span] = []
    behind = 0
    for change in sorted(changes, key=lambda one: one.start):
        # Changes stand in the same order in both texts, as a rule; where not, any place will do.
        place = chosen.find(change.was, behind)
        place = chosen.find(change.was) if place < 0 else place
        if change.was and place >= 0:
            behind = place + len(change.was)
            was.append((place, behind, change.error))
    return was, [(change.start, change.end, change.error) for change in changes]


def _compared(chosen: str, rejected: str) -> tuple[list[_Span], list[_Span]]:
    words = [list(_WORD.finditer(text)) for text in (chosen, rejected)]
    folded = [[word[0].casefold() for word in text] for text in words]
    matcher = SequenceMatcher(None, folded[0], folded[1], autojunk=False)
    if matcher.ratio() < _LEAST_SHARED:
        return [], []
    spans: tuple[list[_Span], list[_Span]] = ([], [])
    for kind, a, b, c, d in matcher.get_opcodes():
        for side, first, last in ((0, a, b), (1, c, d)):
            if kind != "equal" and first < last:
                spans[side].append((words[side][first].start(), words[side][last - 1].end(), ""))
    return spans


def _pieces(text: str, spans: Sequence[_Span]) -> Pieces:
    pieces = []
    place = 0
    for start, end, error in sorted(spans):
        start = max(start, place)
        if start >= end or not text[start:end].strip():
            continue
        pieces += [Piece(text[place:start], False)] if start > place else []
        pieces.append(Piece(text[start:end], True, error))
        place = end
    return (*pieces, Piece(text[place:], False)) if place < len(text) else tuple(pieces)
