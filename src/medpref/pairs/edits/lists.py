"""The vocabularies: YAML files beside this module, checked as they are read."""

import re
from functools import cache
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

SWAPPED = (
    "modality",
    "plane",
    "side",
    "vertical",
    "zone",
    "organ",
    "intensity",
    "colour",
    "shape",
    "severity",
    "size",
    "device",
    "tip",
    "finding",
)
"""The kinds whose facts are terms of a list."""


class Listed(BaseModel):
    """A part of a vocabulary file; unknown keys fail."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TermGroup(Listed):
    """Values that exclude each other, and the words for them.

    Attributes:
        concepts: value → slot → words. Words in the same slot take each other's place in a sentence; the
            first of a slot is written, all are read.
        opposites: value → what it is changed into; all others where nothing is said.
        related: values of which one may be true where the other is: wholes and parts, near synonyms.
        includes: value → values that hold too where it does.
        asked: only where the question asks for this kind.
        alone: only as the whole text.
        asked_alone: as the whole text only where the question asks for this kind.
        followed_by, preceded_by, not_followed_by, not_preceded_by: patterns of the words around it. A term
            that is the whole text needs no words around it.
        letters_before: what has to follow a term of a single letter.
        unless_text: a pattern whose occurrence anywhere in the text rules the term out.
    """

    concepts: dict[str, dict[str, list[str]]]
    opposites: dict[str, list[str]] | None = None
    related: list[tuple[str, str]] = Field(default_factory=list)
    includes: dict[str, list[str]] = Field(default_factory=dict)
    asked: bool = False
    alone: bool = False
    asked_alone: bool = False
    followed_by: str | None = None
    preceded_by: str | None = None
    not_followed_by: str | None = None
    not_preceded_by: str | None = None
    letters_before: str | None = None
    unless_text: str | None = None

    @model_validator(mode="after")
    def _known_values(self) -> "TermGroup":
        named = {*(self.opposites or {}), *self.includes}
        named |= {value for values in (self.opposites or {}).values() for value in values}
        named |= {value for pair in self.related for value in pair}
        unknown = named - set(self.concepts)
        if unknown:
            raise ValueError(f"no words are given for {', '.join(sorted(unknown))}")
        return self


class TermList(Listed):
    """The terms of one error kind."""

    kind: str
    groups: list[TermGroup]


class Finding(Listed):
    """A finding that can be there or not."""

    one: str
    many: str | None = None
    mass: bool = False
    also: list[str] = Field(default_factory=list)


class State(Listed):
    """A predicate of normality, what it becomes, what it is said of (a pattern), and its error kind."""

    was: str
    now: str
    of: str = ".*"
    kind: str = "presence"


class PresenceList(Listed):
    """What can be there or not, and how that is said."""

    findings: list[Finding]
    modifiers: list[str]
    degrees: list[str]
    states: list[State]


class NumberList(Listed):
    """Number words, what is counted, and paired parts of the body."""

    words: dict[int, str]
    counted: list[str]
    irregular: dict[str, str]
    paired: list[str]


class Asks(Listed):
    """A pattern of questions and the kinds they ask for, the likeliest first."""

    pattern: str
    kinds: list[str]


class ClosedAsks(Listed):
    """A pattern of questions for yes or no, and the kind of error in a wrong answer."""

    pattern: str
    kind: str


class QuestionList(Listed):
    """What questions ask for."""

    asks: list[Asks]
    closed: list[ClosedAsks]
    open_ended: str
    knowledge: str


class InertList(Listed):
    """Names that hold no changeable fact."""

    terms: list[str]


def _read(name: str) -> Any:
    folder = resources.files("medpref.pairs.edits") / "vocabulary"
    return yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))


@cache
def terms() -> tuple[TermList, ...]:
    """Return the lists of terms, one for each kind in `SWAPPED`."""
    return tuple(TermList.model_validate(_read(kind)) for kind in SWAPPED)


@cache
def inert() -> InertList:
    """Return the names that hold no changeable fact."""
    return InertList.model_validate(_read("inert"))


@cache
def presence() -> PresenceList:
    """Return what can be there or not."""
    return PresenceList.model_validate(_read("presence"))


@cache
def numbers() -> NumberList:
    """Return number words and what is counted."""
    return NumberList.model_validate(_read("numbers"))


@cache
def questions() -> QuestionList:
    """Return what questions ask for."""
    return QuestionList.model_validate(_read("questions"))


def either(words: list[str]) -> str:
    """Return a pattern for any of `words`, the longest first."""
    return "|".join(re.escape(word) for word in sorted(set(words), key=lambda word: (-len(word), word)))
