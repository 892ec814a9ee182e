"""Counts and measurements."""

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from itertools import pairwise

from medpref.pairs.edits.asking import Asked
from medpref.pairs.edits.fact import Alternative, Fact, Replacement, combined
from medpref.pairs.edits.grammar import is_denied, plural, sentence_around, starts_sentence, states_normal
from medpref.pairs.edits.lists import either, numbers

_SEVERAL = ("multiple", "several", "numerous", "many")
_PLURAL_VERBS = {"is": "are", "was": "were", "has": "have"}
_SINGULAR_VERBS = {many: one for one, many in _PLURAL_VERBS.items()}
_FACTORS = (Decimal("0.4"), Decimal("0.5"), Decimal(2), Decimal(3))

_MEASURE = re.compile(
    r"(?<![\w.])(?P<first>\d+(?:\.\d+)?)(?P<more>(?:\s*(?:cm|mm)?\s*(?:x|×|by|-|to)\s*\d+(?:\.\d+)?)*)"
    r"\s*-?\s*(?P<unit>mm|cm|millimet(?:er|re)s?|centimet(?:er|re)s?)\b",
    re.IGNORECASE,
)
# Another bound may hold as well, and an earlier length is not in the image.
_BOUND = re.compile(
    r"(\b(less|more|greater|larger|smaller|bigger|longer|shorter) than|\b(under|over|exceed\w*"
    r"|at (least|most)|within"
    r"|above|below|prior|previous\w*|formerly|compared (to|with)|(was|were)( \w+){0,2}|sub)|[<>≤≥])"
    r"\s*(\b(measur\w+|a|an|approximately|about|of|at|size)\s+)*\Z",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_BARE = re.compile(r"\W*(?P<lead>(?:just|only|about|there are|there is)\s+)?(?P<count>\w+)\W*", re.IGNORECASE)


# One thing cannot be on both sides.
_BOTH = re.compile(r"\b(both|bilateral\w*|bi-?basilar|respectively)\b", re.IGNORECASE)


@cache
def _values() -> dict[str, int]:
    return {word: value for value, word in numbers().words.items()}


@cache
def _counted() -> re.Pattern[str]:
    nouns = [*numbers().counted, *(plural(noun) for noun in numbers().counted)]
    words = [word for value, word in numbers().words.items() if value]
    return re.compile(
        rf"(?:(?P<before>\b(?:is|are|was|were))\s+)?"
        rf"(?P<count>\b(?:a\s+single|single|a\s+solitary|{either([*words, *_SEVERAL])}|[1-9]\d?))\s+"
        rf"(?P<mods>(?:(?!(?:of|and|or|in|the|with|is|are|to|x|by|cm|mm|year|years|day|days)\b)[\w/-]+\s+){{0,4}}?)"
        rf"(?P<noun>{either(nouns)})\b(?!\s+(?:\w+\s+)?(?:{either(nouns)})\b)(?P<after>\s+(?:is|are|was|were|has|have)\b)?",
        re.IGNORECASE,
    )


_NO_COUNT = re.compile(
    r"(\b(t|l|c|s|grade|stage|type|level|zone|segment|no|not|of|phase|image|figure|number|least|than|to)\s*-?"
    r"|#|\d[-./]|\bno\s+\w+)\s*\Z",
    re.IGNORECASE,
)


def counts(text: str, asks: Asked) -> Iterator[Fact]:
    """Yield what a text counts, with other numbers of it; nouns, articles and verbs agree."""
    bare = _BARE.fullmatch(text)
    if bare and ("count" in asks.kinds or not asks.kinds):
        yield from _bare_count(text, bare, asks)
        return
    for match in _counted().finditer(text):
        value = _value(match.group("count"))
        number = match.group("noun").lower() in numbers().counted
        if value is None or number != (value == "1") or _NO_COUNT.search(text[: match.start("count")]):
            continue
        start, end = sentence_around(text, match.start())
        listed = re.search(r"\bone\s+(in|on|at|of|is|was)\b", text[match.end() : end], re.IGNORECASE)
        safe = not listed and not is_denied(text, match.start("count")) and not states_normal(text[start:end])
        others = [other for other in _others(value) if not (other == "1" and _BOTH.search(text[start:end]))]
        wrong = tuple(_recount(text, match, other) for other in others) if safe else ()
        yield Fact(match.start("count"), match.end("count"), "count", value, wrong)


def _bare_count(text: str, match: re.Match[str], asks: Asked) -> Iterator[Fact]:
    word = match.group("count")
    value = _value(word)
    if value is None or (not asks.kinds and not word.isalpha()):
        return
    start, end = match.span("count")
    wrong = [
        Alternative(other, start, end, _spelt(other, word))
        for other in _others(value)
        if not (other == "multiple" and word.isdigit())
    ]
    yield Fact(start, end, "count", value, tuple(wrong))


def _value(words: str) -> str | None:
    """Return a count as digits, ``multiple`` for a number that is not told, or None for no count."""
    word = words.lower().split()[-1]
    if word in _SEVERAL:
        return "multiple"
    if word in ("single", "solitary"):
        return "1"
    if word.isdigit():
        return str(int(word))
    return str(_values()[word]) if word in _values() else None


def _others(value: str) -> list[str]:
    if value == "multiple":
        return ["1"]
    number = int(value)
    near = [number + step for step in (-2, -1, 1, 2)]
    return [str(other) for other in near if other >= 1]


def _spelt(value: str, original: str) -> str:
    """Return a count in digits or words, as the original is written."""
    if original.isdigit() or not value.isdigit():
        return value
    word = numbers().words.get(int(value), value)
    return word.capitalize() if original[0].isupper() else word


def _recount(text: str, match: re.Match[str], other: str) -> Alternative:
    original = match.group("count")
    one = other == "1"
    noun, was_one = match.group("noun"), match.group("noun").lower() in numbers().counted
    vague = original.lower() in _SEVERAL
    new = ("A single" if original[0].isupper() else "a single") if one and vague else _spelt(other, original)
    if starts_sentence(text, match.start("count")) and original[0].isupper():
        new = new[0].upper() + new[1:]
    replacements = [Replacement(*match.span("count"), new)]
    if one != was_one:
        replacements.append(Replacement(*match.span("noun"), _renumbered(noun, one)))
        verbs = _SINGULAR_VERBS if one else _PLURAL_VERBS
        for name in ("before", "after"):
            verb = (match.group(name) or "").strip()
            if verb.lower() in verbs:
                end = match.end(name)
                replacements.append(Replacement(end - len(verb), end, verbs[verb.lower()]))
    return combined(other, text, replacements)


def _renumbered(noun: str, one: bool) -> str:
    if not one:
        return plural(noun)
    for singular in numbers().counted:
        if plural(singular) == noun.lower():
            return singular.capitalize() if noun[0].isupper() else singular
    return noun


def measurements(text: str, asks: Asked) -> Iterator[Fact]:
    """Yield the lengths of a text in mm or cm, times a factor that matters: 0.4, 0.5, 2 or 3.

    All sides of "2 x 3 cm" take the same factor; the unit and the number of decimals stay.
    """
    for match in _MEASURE.finditer(text):
        said = match.group("first") + match.group("more")
        elsewhere = _lengths(text[: match.start()] + " | " + text[match.end() :])
        wrong: list[Alternative] = []
        for factor in _FACTORS:
            new = _NUMBER.sub(lambda number, f=factor: _times(number.group(), f), said)
            ordered = _order(said) == _order(new)
            far = ordered and all(
                _ratio(a, b) for a, b in zip(_NUMBER.findall(said), _NUMBER.findall(new), strict=True)
            )
            known = any(one.value == new for one in wrong)
            if far and not known and not _lengths(f"{new} {match.group('unit')}") & elsewhere:
                wrong.append(Alternative(new, match.start(), match.start() + len(said), new))
        safe = not is_denied(text, match.start()) and not _BOUND.search(text[: match.start()])
        end = match.start() + len(said)
        yield Fact(match.start(), end, "measurement", match.group(), tuple(wrong) if safe else ())


def _order(said: str) -> list[bool]:
    """Tell of each length but the last whether it differs from the next: "3-5" never becomes "2-2"."""
    lengths_ = [Decimal(number) for number in _NUMBER.findall(said)]
    return [first != second for first, second in pairwise(lengths_)]


def _times(number: str, factor: Decimal) -> str:
    decimals = len(number.partition(".")[2])
    return (
        str(round(Decimal(number) * factor, decimals)) if decimals else str(round(Decimal(number) * factor))
    )


def _ratio(was: str, now: str) -> bool:
    """Tell whether a rounded length is at least half as much again, or at most two thirds."""
    before, after = Decimal(was), Decimal(now)
    return (
        after > 0 and before > 0 and (after / before >= Decimal("1.5") or after / before <= Decimal("0.67"))
    )


def _lengths(text: str) -> set[Decimal]:
    """Return all lengths of a text in mm."""
    found = set()
    for match in _MEASURE.finditer(text):
        scale = 1 if match.group("unit").lower().startswith("m") else 10
        for number in _NUMBER.findall(match.group("first") + match.group("more")):
            found.add((Decimal(number) * scale).normalize())
    return found
