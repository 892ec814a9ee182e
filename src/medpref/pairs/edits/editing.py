"""Changes one visual fact of a text into a wrong one."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from medpref.pairs.edits.asking import Asked, asked
from medpref.pairs.edits.fact import Alternative, Edit, Fact
from medpref.pairs.edits.grammar import in_capitals, sentence_around
from medpref.pairs.edits.levels import levels
from medpref.pairs.edits.mentions import is_whole, stated
from medpref.pairs.edits.phrases import findings_in
from medpref.pairs.edits.presence import presences
from medpref.pairs.edits.quantities import counts, measurements
from medpref.pairs.edits.sides import both_sides
from medpref.pairs.edits.swaps import TECHNIQUE, swaps
from medpref.pairs.pair import Change


def find_facts(text: str, question: str | None = None) -> list[Fact]:
    """Return the visual facts that the rules know in an answer, sentence, caption or report.

    Args:
        text: what is said of an image.
        question: what was asked, where something was.

    Returns:
        The facts in their order. Those without alternatives are known, but no change of them is sure to be
        wrong: they are denied, asked back, or another value is stated beside them.
    """
    asks = asked(question)
    facts = [
        *presences(text, question, asks),
        *(fact for fact in _others(text, question, asks) if not asks.knowledge),
    ]
    facts = [_in_the_case_of(text, _unless_echoed(text, fact, question, asks)) for fact in facts]
    return sorted(facts, key=lambda fact: (fact.start, fact.end, fact.kind))


def _unless_echoed(text: str, fact: Fact, question: str | None, asks: Asked) -> Fact:
    """Return the fact without alternatives where an open question has said it: no answer, but its premise."""
    if not question or asks.choice or "presence" in asks.kinds or fact.kind in asks.kinds:
        return fact
    if is_whole(text, fact.start, fact.end):
        return fact
    said = rf"\b{re.escape(text[fact.start : fact.end])}\b"
    return fact._replace(alternatives=()) if re.search(said, question, re.IGNORECASE) else fact


def _in_the_case_of(text: str, fact: Fact) -> Fact:
    """Return the fact with its alternatives in capitals, where its sentence is in capitals."""
    if not in_capitals(text, fact.start):
        return fact
    return fact._replace(alternatives=tuple(one._replace(text=one.text.upper()) for one in fact.alternatives))


def _others(text: str, question: str | None, asks: Asked) -> Iterator[Fact]:
    yield from swaps(text, question, asks)
    yield from both_sides(text, asks)
    yield from counts(text, asks)
    yield from measurements(text, asks)
    yield from levels(text, asks)


def edit(
    text: str,
    question: str | None,
    rng: np.random.Generator,
    *,
    kinds: Collection[str] | None = None,
    avoid: Sequence[str] = (),
    weights: Mapping[str, float] | None = None,
    prefer: Collection[str] = (),
) -> Edit | None:
    """Change one visual fact of `text` into a wrong one; the rest stays as it is, byte for byte.

    What the question asks for is changed where that is possible, and otherwise a fact drawn at random.

    Args:
        text: a right answer, sentence, caption or report.
        question: what was asked, if anything.
        rng: draws the fact and its wrong value.
        kinds: the error kinds that may be made; all where None.
        avoid: what else is true of the image; nothing is changed into what one of these texts states.
        weights: error kind → how often it is drawn among a text's facts, 1 where nothing is said; kinds of
            weight 0 are not drawn.
        prefer: whole texts that are drawn before others where they are among the results, such as the other
            answers of a data set.

    Returns:
        The wrong text and its change, or None where no change is sure to be wrong.
    """
    weigh = dict(weights or {})
    facts = [
        (fact, safe)
        for fact in find_facts(text, question)
        if (kinds is None or fact.kind in kinds) and weigh.get(fact.kind, 1) > 0
        if (safe := _safe(text, fact, avoid))
    ]
    facts = _asked_for(text, facts, asked(question))
    if kinds is None:
        # What is seen before how it was taken, unless the question or the weights say otherwise.
        facts = [entry for entry in facts if entry[0].kind not in TECHNIQUE - set(weigh)] or facts
    facts = [entry for entry in facts if not _is_repeated(text, entry[0])] or facts
    if not facts:
        return None
    share = np.array([weigh.get(fact.kind, 1.0) for fact, _ in facts])
    fact, alternatives = facts[int(rng.choice(len(facts), p=share / share.sum()))]
    known = [one for one in alternatives if one.applied_to(text) in prefer]
    one = _pick(rng, known or alternatives)
    return _made(text, fact, one)


def _is_repeated(text: str, fact: Fact) -> bool:
    """Tell whether another sentence names the same finding: the report would contradict itself."""
    start, end = sentence_around(text, fact.start)
    return bool(findings_in(text[start:end]) & findings_in(text[:start] + "\n" + text[end:]))


def _safe(text: str, fact: Fact, avoid: Sequence[str]) -> list[Alternative]:
    """Return the alternatives that no text of `avoid` states."""
    true = {spoken(other) for other in avoid}
    values = stated(avoid)
    return [
        one
        for one in fact.alternatives
        if (fact.kind, one.value) not in values
        and (one.value in ("yes", "no") or spoken(one.applied_to(text)) not in true)
        and one.applied_to(text) != text
    ]


def _asked_for(
    text: str, facts: list[tuple[Fact, list[Alternative]]], asks: Asked
) -> list[tuple[Fact, list[Alternative]]]:
    """Return the facts of the kind that the question asks for first, or all where there are none."""
    for fact, alternatives in facts:
        if is_whole(text, fact.start, fact.end):
            return [(fact, alternatives)]
    for kind in asks.kinds:
        of_kind = [entry for entry in facts if entry[0].kind == kind]
        if of_kind:
            return of_kind
    return facts


def _pick(rng: np.random.Generator, options: Sequence[Alternative]) -> Alternative:
    return options[int(rng.integers(len(options)))]


def _made(text: str, fact: Fact, one: Alternative) -> Edit:
    change = Change(fact.kind, one.start, one.start + len(one.text), text[one.start : one.end], one.text)
    return Edit(one.applied_to(text), change)


def spoken(text: str) -> str:
    """Return a text as it sounds: without case, blanks around it, and a full stop."""
    return text.strip().rstrip(".").casefold()
