"""What a question asks for."""

import re
from functools import cache
from typing import NamedTuple

from medpref.pairs.edits.lists import questions

_CLOSED = re.compile(
    r"^\W*(is|are|was|were|does|do|did|can|could|has|have|had|will|would|any|evidence)\b", re.IGNORECASE
)
_CHOICE = re.compile(r"\b(or|vs|versus)\b", re.IGNORECASE)

# What a question may offer between two answers: "cystic or solid?", "white or gray matter?".
_OFFERED = ("finding", "shape", "zone", "intensity", "severity", "size", "organ")


class Asked(NamedTuple):
    """What a question asks for.

    Attributes:
        kinds: error kinds, the likeliest first; empty where nothing is known.
        closed: the kind of a wrong yes or no.
        choice: whether the question offers its answers: "left or right?".
        open_ended: whether several answers may be right.
        knowledge: whether the answer is not read off the image.
    """

    kinds: tuple[str, ...] = ()
    closed: str = "presence"
    choice: bool = False
    open_ended: bool = False
    knowledge: bool = False


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]:
    return tuple((re.compile(asks.pattern, re.IGNORECASE), tuple(asks.kinds)) for asks in questions().asks)


def asked(question: str | None) -> Asked:
    """Return what `question` asks for; without a question, nothing is known."""
    if not question:
        return Asked()
    listed = questions()
    kinds = [kind for pattern, kinds in _patterns() if pattern.search(question) for kind in kinds]
    choice = _CHOICE.search(question) is not None
    if _CLOSED.match(question) and not choice:
        kinds = ["presence", *kinds]
    if choice:
        kinds += _OFFERED
    closed = [asks.kind for asks in listed.closed if re.search(asks.pattern, question, re.IGNORECASE)]
    return Asked(
        tuple(dict.fromkeys(kinds)),
        closed[0] if closed else "presence",
        choice,
        re.search(listed.open_ended, question, re.IGNORECASE) is not None,
        re.search(listed.knowledge, question, re.IGNORECASE) is not None,
    )
