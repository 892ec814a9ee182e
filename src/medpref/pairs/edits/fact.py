"""A fact of a text, and what it would be changed into."""

from typing import NamedTuple

from medpref.pairs.pair import Change


class Alternative(NamedTuple):
    """One wrong value of a fact.

    Attributes:
        value: the wrong value, in the words of the vocabulary.
        start, end: the characters of the text that are replaced; articles and verbs that have to agree may
            make them more than the fact itself.
        text: what stands there instead.
    """

    value: str
    start: int
    end: int
    text: str

    def applied_to(self, text: str) -> str:
        """Return `text` with the wrong value."""
        return text[: self.start] + self.text + text[self.end :]


class Fact(NamedTuple):
    """One visual fact that a text states.

    Attributes:
        start, end: where it stands, in characters.
        kind: its error kind, one of `ERROR_KINDS`.
        value: what is stated, in the words of the vocabulary.
        alternatives: what would be wrong instead; none where no change is safe.
    """

    start: int
    end: int
    kind: str
    value: str
    alternatives: tuple[Alternative, ...]


class Edit(NamedTuple):
    """A text with one wrong fact, and which one."""

    text: str
    change: Change


class Replacement(NamedTuple):
    """Characters from `start` to `end` that become `text`."""

    start: int
    end: int
    text: str


def combined(value: str, text: str, replacements: list[Replacement]) -> Alternative:
    """Return one alternative for several replacements: its span reaches from the first to the last.

    The replacements must not overlap. Words in between stay as they are, and equal ends are not in the span.
    """
    ordered = sorted(replacements)
    start, end = ordered[0].start, ordered[-1].end
    parts, here = [], start
    for replacement in ordered:
        parts += [text[here : replacement.start], replacement.text]
        here = replacement.end
    return Alternative(value, start, end, "".join(parts))
