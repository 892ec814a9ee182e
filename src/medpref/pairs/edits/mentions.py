"""Where the terms of the vocabularies stand in a text."""

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import NamedTuple

from medpref.pairs.edits.asking import Asked
from medpref.pairs.edits.lists import TermGroup, either, inert, terms

Value = tuple[str, str]
"""An error kind and a value of it."""


class Sense(NamedTuple):
    """One meaning of a term: its kind, and its place in the vocabulary."""

    kind: str
    group: TermGroup
    concept: str
    slot: str


class Mention(NamedTuple):
    """A term in a text, at the characters from `start` to `end`."""

    start: int
    end: int
    sense: Sense


@cache
def _senses() -> dict[str, tuple[Sense, ...]]:
    found: dict[str, list[Sense]] = {word.lower(): [] for word in inert().terms}
    for listed in terms():
        for group in listed.groups:
            for concept, slots in group.concepts.items():
                for slot, words in slots.items():
                    for word in words:
                        found.setdefault(word.lower(), []).append(Sense(listed.kind, group, concept, slot))
    return {word: tuple(senses) for word, senses in found.items()}


@cache
def _inert() -> frozenset[str]:
    return frozenset(word.lower() for word in inert().terms)


@cache
def _any_term() -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)({either(list(_senses()))})(?!\w)", re.IGNORECASE)


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def is_whole(text: str, start: int, end: int) -> bool:
    """Tell whether nothing but articles, blanks and marks stands around the characters."""
    return re.fullmatch(
        r"\W*((a|an|the|it is|it's|in the|on the|in|on)\s+)?", text[:start].lower()
    ) is not None and (re.fullmatch(r"\W*", text[end:]) is not None)


def mentions(text: str, question: Asked) -> list[Mention]:
    """Return the terms of a text in their order, at most one of each kind at a place."""
    found: list[Mention] = []
    place = 0
    while match := _any_term().search(text, place):
        here, end = _mentions_at(text, match, question)
        found += here
        place = end
    return found


def _mentions_at(text: str, match: re.Match[str], question: Asked) -> tuple[list[Mention], int]:
    """Return what the longest fitting term at a place mentions, and where to read on.

    Where the longest term does not fit, its first words may be a term that does: "left side" in a sentence.
    """
    start, end = match.span()
    if not _senses()[match.group().lower()]:
        return [], end
    while end > start:
        kinds: dict[str, Mention] = {}
        for sense in _senses().get(text[start:end].lower(), ()):
            if sense.kind not in kinds and _fits(text, start, end, sense, question):
                kinds[sense.kind] = Mention(start, end, sense)
        if kinds:
            # A tip in the stomach is a fact of the tube, not of the organ.
            return [kinds[kind] for kind in kinds if not (kind == "organ" and "tip" in kinds)], end
        if text[start:end].lower() in _inert():
            return [], end
        end = start + max(text[start:end].rfind(" "), text[start:end].rfind("-"), 0)
    return [], start + len(re.split(r"[\s-]", match.group())[0])


def _fits(text: str, start: int, end: int, sense: Sense, question: Asked) -> bool:
    group = sense.group
    whole = is_whole(text, start, end)
    asked = sense.kind in question.kinds
    if (group.asked and not asked) or (group.alone and not whole):
        return False
    if group.unless_text and _pattern(group.unless_text).search(text):
        return False
    if whole and group.asked_alone and not asked:
        return False
    if whole:
        # A short answer needs no context, but a question that asks for something else is one.
        return not _mistakable(text[start:end]) or asked or not question.kinds
    if end - start == 1 and (text[start].islower() or not _before(group.letters_before or "$.", text, end)):
        return False
    if _mistakable(text[start:end]) and not text[start:end].isupper():
        return False
    return (
        (group.followed_by is None or _before(group.followed_by, text, end))
        and (group.preceded_by is None or _after(group.preceded_by, text, start))
        and not (group.not_followed_by and _before(group.not_followed_by, text, end))
        and not (group.not_preceded_by and _after(group.not_preceded_by, text, start))
    )


def _mistakable(word: str) -> bool:
    # "pa", "us", "ap": abbreviations of two letters that are words, or parts of others, in lower case.
    return len(word) == 2 and word.upper() in {"PA", "AP", "IV", "GI"}


def _before(pattern: str, text: str, end: int) -> bool:
    return _pattern(pattern).match(text, end) is not None


def _after(pattern: str, text: str, start: int) -> bool:
    return _pattern(rf"(?:{pattern})\Z").search(text[:start]) is not None


def stated(texts: Iterable[str]) -> set[Value]:
    """Return all values that the words of `texts` may state, whatever stands around them."""
    return {value for text in texts for value in _stated(text)}


@lru_cache(maxsize=4096)
def _stated(text: str) -> frozenset[Value]:
    included = {(kind, part) for kind, concept in named(text) for part in _included(kind).get(concept, ())}
    return named(text) | included


@lru_cache(maxsize=4096)
def named(text: str) -> frozenset[Value]:
    """Return the values whose words stand in `text`, whatever stands around them."""
    return frozenset(
        (sense.kind, sense.concept)
        for match in _any_term().finditer(text)
        if len(match.group()) > 1
        for sense in _senses()[match.group().lower()]
    )


@cache
def _included(kind: str) -> dict[str, list[str]]:
    return {
        whole: parts
        for listed in terms()
        if listed.kind == kind
        for group in listed.groups
        for whole, parts in group.includes.items()
    }


def holds_with(sense: Sense, concept: str) -> set[Value]:
    """Return the values of which `concept` may be a part or a synonym, itself among them."""
    near = {concept}
    for pair in sense.group.related:
        if concept in pair:
            near |= set(pair)
    return {(sense.kind, name) for name in near}


def word_for(kind: str, concept: str) -> str | None:
    """Return the first word of a value, whatever its group."""
    for senses in _senses().values():
        for sense in senses:
            if (sense.kind, sense.concept) == (kind, concept):
                return next(iter(sense.group.concepts[concept].values()))[0]
    return None
