"""The four labels that a judge gives a fact, and how they are written."""

import re
from collections.abc import Mapping
from enum import Enum


class Label(Enum):
    """What a text says of a fact; the value is how medpref and the study write it."""

    ENTAILMENT = "Entailment"
    PARTIAL = "Partial Entailment"
    NEUTRAL = "Neutral"
    CONTRADICTION = "Contradiction"


class UnreadableError(ValueError):
    """A reply that gives no labels; the message says why."""


COMP: Mapping[Label, float] = {Label.ENTAILMENT: 1.0, Label.PARTIAL: 0.5}
"""What a label adds to comp; the others add nothing."""

_ENTAILED = r"entail(?:ment|ments|ed|s)?"
_WRITTEN: Mapping[Label, str] = {
    Label.PARTIAL: rf"(?:partial|partially|partly)(?:[\s_-]*{_ENTAILED})?",
    Label.ENTAILMENT: rf"(?:(?:full|fully|complete|completely)[\s_-]+)?{_ENTAILED}",
    Label.NEUTRAL: "neutral",
    Label.CONTRADICTION: r"contradict(?:ion|ions|ed|s|ory|ing)?",
}
_ANY = "|".join(f"(?P<{label.name}>{pattern})" for label, pattern in _WRITTEN.items())
# At most so many in a row, so that reading stays quick whatever comes.
_MARKS = r"[\s\"'`“”‘’*_\[\](){}<>,;|]{0,16}"
# "12. ", "(12) ", "Fact 12: ", "12 - ", and names of the field: "Label: ".
_NUMBER = re.compile(
    rf"{_MARKS}[-•–]?{_MARKS}(?:(?:atomic\s+)?(?:fact|label|claim|statement|item|no\.?)[\s_]*)?#?"
    r"(?P<number>[0-9]{1,4})(?![0-9])(?:\s*[.):\-–—|=>→]+|(?=\s)|(?=[A-Za-z])|(?=[\"'*_]*$))",
    re.IGNORECASE,
)
_NAME = re.compile(
    rf"{_MARKS}[-•–]?{_MARKS}(?:(?:(?:final\s+)?(?:label|answer|verdict|result|judge?ment))\s*[:=]{_MARKS})?",
    re.IGNORECASE,
)
_START = re.compile(rf"(?:{_ANY})(?![A-Za-z])", re.IGNORECASE)
# A dash needs a blank before it: "non-entailment" is not entailment.
_END = re.compile(rf"(?::|→|\||=|\s[-–—>]+)\s*[\"'`*_(\[]*(?:{_ANY})[\s\"'`*_.)\]}},;]*\Z", re.IGNORECASE)
_DONE = re.compile(r"[\s\"'`“”’*_.)\]},;!]*\Z")
# What parts a label from the words that explain it.
_PART = re.compile(r"[\s\"'`“”’*_)\]}]*(?:[:;,.(\[–—→|=>-]+|\n|\b(?:because|since|as|due)\b)", re.IGNORECASE)
_LONGEST_ITEM = 4000
"""A label with more characters of explanation is not read."""


def read_number(text: str) -> tuple[int | None, str]:
    """Return the number that a label begins with, if it has one, and what follows: "12. Neutral"."""
    match = _NUMBER.match(text.lstrip()[:_LONGEST_ITEM])
    return (int(match["number"]), text.lstrip()[match.end() :]) if match else (None, text)


def read_label(text: str) -> Label | None:
    """Return the label that one item of a reply gives, its number taken off, or None.

    Letter case, quotes and emphasis do not count. A label may have an explanation behind it, or the fact in
    front of it and a colon or dash between. Two different labels in one item are none.
    """
    if len(text) > _LONGEST_ITEM:
        return None
    name = _NAME.match(text)
    bare = text[name.end() :] if name else text
    start = _START.match(bare)
    if start:
        rest = bare[start.end() :]
        if _DONE.match(rest):
            return _named(start)
        part = _PART.match(rest)
        if part:
            return _alone(_named(start), rest[part.end() :])
        # "Entailment the text says so": a sentence that names no other label.
        return None if _others(_named(start), rest) else _named(start)
    end = _END.search(bare)
    return _named(end) if end else None


def _named(match: re.Match[str]) -> Label:
    return next(label for label in Label if match[label.name] is not None)


def _alone(label: Label, explanation: str) -> Label | None:
    """Return the label unless what follows is another one: "Entailment, Neutral" does not decide."""
    bare = explanation.lstrip(" \t\n\"'`*_([")
    second = _START.match(bare)
    if second is None or _named(second) is label or not _DONE.match(bare[second.end() :]):
        return label
    return None


def _others(label: Label, text: str) -> bool:
    return any(_named(match) is not label for match in _START.finditer(text))
