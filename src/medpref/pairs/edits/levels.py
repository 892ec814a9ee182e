"""Levels that are numbered: vertebrae, discs between them, and ribs."""

import re
from collections.abc import Iterator

from medpref.pairs.edits.asking import Asked
from medpref.pairs.edits.fact import Alternative, Fact
from medpref.pairs.edits.grammar import is_denied, sentence_around, states_normal
from medpref.pairs.edits.mentions import is_whole

_ORDINALS = (
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
)
_VERTEBRA = re.compile(
    r"(?<![\w-])(?P<part>[CTL])(?P<first>\d{1,2})(?P<joint>\s?[-/]\s?)?(?P<next>[CTLS]?\d{1,2})?(?![\w-])"
)
_LAST = {"C": 7, "T": 12, "L": 5}
_BELOW = {"C": "T", "T": "L", "L": "S"}
# T1 and T2 are sequences too, T1 to T4 stages.
_SPINE = re.compile(
    r"\b(vertebra\w*|disc|disk|spin\w+|level|compression|fracture|hernia\w*|stenosis|endplate|body)\b",
    re.IGNORECASE,
)
_RIB = re.compile(
    rf"\b(?P<number>\d{{1,2}}(?:st|nd|rd|th)|{'|'.join(_ORDINALS)})(?=\s+(?:(?:anterior|posterior|lateral)\s+)?rib\b)",
    re.IGNORECASE,
)


def levels(text: str, asks: Asked) -> Iterator[Fact]:
    """Yield vertebrae, discs and ribs that are numbered, with others two or three places away."""
    for match in _VERTEBRA.finditer(text):
        if int(match.group("first")) <= _LAST[match.group("part")] and _is_level(text, match, asks):
            yield _fact(text, match, _vertebrae(match))
    for match in _RIB.finditer(text):
        yield _fact(text, match, _ribs(match.group("number")))


def _is_level(text: str, match: re.Match[str], asks: Asked) -> bool:
    if match.group("joint") and not match.group("next"):
        return False
    if is_whole(text, *match.span()):
        return "vertical" in asks.kinds
    start, end = sentence_around(text, match.start())
    return match.group("next") is not None or _SPINE.search(text, start, end) is not None


def _fact(text: str, match: re.Match[str], others: list[str]) -> Fact:
    start, end = match.span()
    low, high = sentence_around(text, start)
    elsewhere = text[:start] + " | " + text[end:]
    safe = not is_denied(text, start) and not (
        states_normal(text[low:high]) and not is_whole(text, start, end)
    )
    wrong = tuple(
        Alternative(other, start, end, other)
        for other in others
        if safe and not re.search(rf"\b{re.escape(other)}\b", elsewhere, re.IGNORECASE)
    )
    return Fact(start, end, "vertical", match.group(), wrong)


def _vertebrae(match: re.Match[str]) -> list[str]:
    """Return levels of the same part of the spine: "L4-L5" becomes "L2-L3"."""
    part, first, following = match.group("part"), int(match.group("first")), match.group("next")
    if following is None:
        return [f"{part}{other}" for other in _near(first, _LAST[part])]
    lettered = not following[0].isdigit()
    made = []
    for other in _near(first, _LAST[part]):
        below = f"{part if lettered else ''}{other + 1}"
        if other == _LAST[part]:
            below = f"{_BELOW[part]}1"
        made.append(f"{part}{other}{match.group('joint')}{below}")
    return made


def _near(number: int, last: int) -> list[int]:
    return [other for other in (number - 3, number - 2, number + 2, number + 3) if 1 <= other <= last]


def _ribs(number: str) -> list[str]:
    digits = re.match(r"\d+", number)
    value = int(digits.group()) if digits else _ORDINALS.index(number.lower()) + 1
    if not digits:
        words = [_ORDINALS[other - 1] for other in _near(value, len(_ORDINALS))]
        return [word.capitalize() if number[0].isupper() else word for word in words]
    endings = {1: "st", 2: "nd", 3: "rd"}
    return [f"{other}{endings.get(other, 'th')}" for other in _near(value, len(_ORDINALS))]
