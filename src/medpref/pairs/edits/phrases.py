"""Noun phrases of findings, and patterns that hold them."""

import re
from functools import cache
from typing import NamedTuple

from medpref.pairs.edits.grammar import article
from medpref.pairs.edits.lists import Finding, either, presence

_SEEN = (
    r"(?:seen|identified|present|noted|evident|visualized|visualised|appreciated|detected|demonstrated|visible"
    r"|observed|found|shown)"
)
_PLACE = (
    rf"(?:\s+{_SEEN})?"
    r"(?:\s+(?:bilaterally|(?:in|of|at|on|within|along|over|involving|near|throughout|adjacent to|to|under"
    r"|underneath|beneath|below|above|overlying|around|about|surrounding)\s+[^,;:.]*))?"
)


class Part(NamedTuple):
    """A noun phrase of a finding: the words before its noun, and the noun."""

    modifiers: str
    noun: str

    @property
    def words(self) -> str:
        """The whole phrase."""
        return self.modifiers + self.noun


@cache
def findings() -> dict[str, tuple[Finding, bool]]:
    """Return noun → finding and whether the noun is a plural."""
    found: dict[str, tuple[Finding, bool]] = {}
    for finding in presence().findings:
        found[finding.one] = (finding, False)
        for word in finding.also:
            found.setdefault(word, (finding, word.endswith("s") and not finding.mass))
        if finding.many:
            found[finding.many] = (finding, True)
    return found


@cache
def phrase() -> str:
    """Return the pattern of a finding with what may stand before it."""
    modifier = either(presence().modifiers)
    return (
        rf"(?:(?:{modifier})(?:,?\s+|\s+(?:and|or)\s+(?=(?:{modifier})\b)))*(?:{either(list(findings()))})\b"
    )


@cache
def _split() -> re.Pattern[str]:
    return re.compile(rf"(?P<mods>.*?)(?P<noun>{either(list(findings()))})\Z", re.IGNORECASE | re.DOTALL)


@cache
def pattern(written: str) -> re.Pattern[str]:
    """Compile a pattern in which ``PHRASE``, ``SEEN`` and ``PLACE`` stand for theirs."""
    whole = written.replace("PHRASE", phrase()).replace("SEEN", _SEEN).replace("PLACE", _PLACE)
    return re.compile(whole, re.IGNORECASE)


def findings_in(text: str) -> set[str]:
    """Return the nouns of the findings that a text names, in the singular."""
    return {findings()[match.group().lower()][0].one for match in _nouns().finditer(text)}


@cache
def _nouns() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{either(list(findings()))})\b", re.IGNORECASE)


def part_of(words: str) -> Part:
    """Return the phrase in its parts."""
    match = _split().match(words)
    return Part(match.group("mods"), match.group("noun")) if match else Part("", words)


def is_plural(part: Part) -> bool:
    """Tell whether the noun takes a plural verb."""
    return findings()[part.noun.lower()][1]


def there_is(part: Part) -> str:
    """Return "a pleural effusion" with the verb and article it takes: "there is a ..."."""
    return f"there {'are' if is_plural(part) else 'is'} {with_article(part)}"


def with_article(part: Part) -> str:
    """Return the phrase with the indefinite article, where it takes one."""
    finding, many = findings()[part.noun.lower()]
    # Findings are no acronyms: in a report of capitals, "AN ACUTE", but "A LARGE".
    return part.words if many or finding.mass else f"{article(part.words.lower())} {part.words}"


def denied(part: Part) -> str:
    """Return a phrase without its degree: the contrary of "a small effusion" is "no effusion"."""
    degree = re.compile(rf"\b(?:{either(presence().degrees)})\s+", re.IGNORECASE)
    return degree.sub("", part.modifiers) + part.noun


def capital(words: str, like: str) -> str:
    """Return `words` with a first letter as that of `like`."""
    return words[0].upper() + words[1:] if like[:1].isupper() else words[0].lower() + words[1:]


def lower(words: str) -> str:
    """Return `words` as they stand within a sentence."""
    return words if words[:2].isupper() else words[0].lower() + words[1:]
