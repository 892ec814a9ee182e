"""Facts that are terms: one value takes the place of another."""

import re
from collections.abc import Iterator

from medpref.pairs.edits.asking import Asked
from medpref.pairs.edits.fact import Alternative, Fact, Replacement, combined
from medpref.pairs.edits.grammar import (
    article,
    explains,
    is_denied,
    like,
    sentence_around,
    starts_sentence,
    states_normal,
)
from medpref.pairs.edits.mentions import (
    Mention,
    Value,
    holds_with,
    is_whole,
    mentions,
    named,
    stated,
    word_for,
)

# How an image was taken holds whether or not a sentence speaks of something that is absent or normal.
TECHNIQUE = frozenset({"modality", "plane"})
"""The kinds that tell how an image was taken."""
# What is named twice is one thing as a rule: to change one of its names would be no sense.
_NAMED_ONCE = frozenset({"modality", "plane", "organ", "device", "tip", "finding", "colour"})
# Another study than the one that is described.
_OTHER_STUDY = re.compile(r"\b(recommend\w*|follow-up|comparison:|prior|previous|compared)\b", re.IGNORECASE)
# "Heart or lung?" may be answered by "both" as well.
_BOTH = re.compile(r"\W*both\W*", re.IGNORECASE)
_SIDES = re.compile(
    r"\b(left|right|sides?|one or both|both or one|bilateral\w*|unilateral\w*)\b", re.IGNORECASE
)
_ARTICLE = re.compile(r"\b(an?)(\s+)\Z", re.IGNORECASE)


def swaps(text: str, question: str | None, asks: Asked) -> Iterator[Fact]:
    """Yield the facts of `text` that are terms, with the values that would be wrong.

    A value is no alternative where the text, or the question outside a choice, states it too, or one that is
    a whole, a part or a synonym of it.
    """
    for mention in mentions(text, asks):
        wrong: tuple[Alternative, ...] = ()
        if not _shielded(text, question, mention, asks):
            elsewhere = stated([_without(text, mention)])
            wrong = tuple(_alternatives(text, question, mention, elsewhere, asks))
        sense = mention.sense
        yield Fact(mention.start, mention.end, sense.kind, sense.concept, wrong)


def _shielded(text: str, question: str | None, mention: Mention, asks: Asked) -> bool:
    """Tell whether another value might be as true: of what is absent, normal, or one of several."""
    start, end = sentence_around(text, mention.start)
    if text[start:end].rstrip().endswith("?"):
        return True
    if _BOTH.fullmatch(text) and asks.choice and not _SIDES.search(question or ""):
        return True
    if mention.sense.kind in _NAMED_ONCE and _value(mention) in stated([_without(text, mention)]):
        return True
    if re.match(r"\W*(yes|no)\b", text, re.IGNORECASE) and _value(mention) in stated([question or ""]):
        # The answer affirms or denies it: "Yes, the heart is large" cannot become "Yes, the heart is small".
        return True
    if mention.sense.kind == "side" and _value(mention) in stated([_without(text, mention)[start : end + 3]]):
        # "Left volume loss with an elevated left hemidiaphragm": one of the two would not fit the other.
        return True
    if mention.sense.kind in TECHNIQUE:
        # "without contrast" is itself what is changed.
        return (
            is_denied(text, mention.start) or _OTHER_STUDY.search(text, max(start - 14, 0), end) is not None
        )
    if asks.open_ended or is_denied(text, mention.start):
        return True
    if is_whole(text, mention.start, mention.end):
        return False
    return states_normal(text[start:end]) or explains(text, mention.start)


def _value(mention: Mention) -> Value:
    return mention.sense.kind, mention.sense.concept


def _without(text: str, mention: Mention) -> str:
    return text[: mention.start] + " | " + text[mention.end :]


def _alternatives(
    text: str, question: str | None, mention: Mention, elsewhere: set[Value], asks: Asked
) -> Iterator[Alternative]:
    sense = mention.sense
    group = sense.group
    # "With or without contrast?" names what would be wrong.
    in_question = set() if asks.choice else stated([question or ""])
    own = holds_with(sense, sense.concept)
    offered = [other for other in _offered(mention, named(question or ""), asks) if not {other} & own]
    whole = is_whole(text, mention.start, mention.end)
    # In a sentence only words of the same sort take each other's place.
    offered = [other for other in offered if other[1] in group.concepts or (whole and sense.kind == "organ")]
    if offered:
        yield from _choices(
            text, mention, [concept for _, concept in offered if (sense.kind, concept) not in elsewhere]
        )
        return
    names = group.concepts if group.opposites is None else group.opposites.get(sense.concept, ())
    for name in names:
        near = holds_with(sense, name)
        words = _words(text, mention, name)
        if words and (sense.kind, name) not in own and not near & (elsewhere | in_question):
            yield _written(text, mention, name, words)


def _offered(mention: Mention, in_question: frozenset[Value], asks: Asked) -> list[Value]:
    """Return the values between which the question lets choose, if what is mentioned is one of them."""
    kind, concept = mention.sense.kind, mention.sense.concept
    if not asks.choice or (kind, concept) not in in_question:
        return []
    return sorted(value for value in in_question if value[0] == kind)


def _choices(text: str, mention: Mention, names: list[str]) -> Iterator[Alternative]:
    for name in names:
        words = (
            _words(text, mention, name)
            if name in mention.sense.group.concepts
            else word_for(mention.sense.kind, name)
        )
        if words:
            yield _written(text, mention, name, words)


def _words(text: str, mention: Mention, name: str) -> str | None:
    """Return the word for the value `name` in the mention's slot; a whole answer may change its number."""
    slots = mention.sense.group.concepts[name]
    words = slots.get(mention.sense.slot)
    if not words and is_whole(text, mention.start, mention.end):
        words = next(iter(slots.values()), None)
    if not words:
        return None
    # "left sided" becomes "right sided", "left-sided" "right-sided".
    hyphens = text[mention.start : mention.end].count("-")
    same = [
        word
        for word in words
        if word.count("-") == hyphens and word.replace("-", " ") == words[0].replace("-", " ")
    ]
    return (same or words)[0]


def _written(text: str, mention: Mention, name: str, words: str) -> Alternative:
    original = text[mention.start : mention.end]
    starts = starts_sentence(text, mention.start)
    new = like(original, words, starts=starts, acronym=_is_acronym(mention, original))
    if len(original) == 1:
        new = words[0].upper()
    if original.islower() and is_whole(text, mention.start, mention.end) and text == text.lower():
        new = new.lower()
    replacements = [Replacement(mention.start, mention.end, new)]
    before = _ARTICLE.search(text, 0, mention.start)
    if before and before.group(1).lower() != article(words):
        right = article(words).capitalize() if before.group(1)[0].isupper() else article(words)
        replacements.append(Replacement(before.start(1), before.end(1), right))
    return combined(name, text, replacements)


def _is_acronym(mention: Mention, original: str) -> bool:
    """Tell whether the vocabulary writes the term with capitals: "CT" begins no sentence."""
    words = mention.sense.group.concepts[mention.sense.concept][mention.sense.slot]
    listed = next((word for word in words if word.lower() == original.lower()), original)
    return any(letter.isupper() for letter in listed)
