"""What is there and what is not: yes and no, and findings that are stated or denied."""

import re
from collections.abc import Iterator

from medpref.pairs.edits.answers import turned
from medpref.pairs.edits.asking import Asked
from medpref.pairs.edits.contraries import INSIDE, RULES, Found, fragment
from medpref.pairs.edits.fact import Alternative, Fact
from medpref.pairs.edits.grammar import clauses, is_hedged, sentences, states_normal
from medpref.pairs.edits.phrases import pattern
from medpref.pairs.edits.states import states

_CLOSED = re.compile(r"\W*(?P<word>yes|no)\W*", re.IGNORECASE)
_CHOICE = re.compile(r"\W*(?:it is |it's |they are )?(?P<word>normal|abnormal)\W*", re.IGNORECASE)
_VAGUE = re.compile(r"abnormalit|enlarge|disease|process", re.IGNORECASE)
_ANSWERS = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
# "No effusion" begins a statement, "No, ..." an answer.
_ANSWERED = re.compile(r"\W*(yes\b|no\s*[,.;:-])", re.IGNORECASE)


def presences(text: str, question: str | None, asks: Asked) -> Iterator[Fact]:
    """Yield what a text says to be there, not there, normal or abnormal, with its contrary."""
    whole = _CLOSED.fullmatch(text)
    if whole:
        yield _contrary(whole, {"yes": "no", "no": "yes"}, asks.closed)
        return
    whole = _CHOICE.fullmatch(text)
    if whole:
        yield _contrary(whole, {"normal": "abnormal", "abnormal": "normal"}, "presence")
        return
    reports = question is None or "presence" in asks.kinds or len(list(sentences(text))) > 1
    for start, end in sentences(text):
        sentence = text[start:end]
        if is_hedged(sentence):
            continue
        if len(list(sentences(text))) == 1:
            yield from turned(text, start, end, asks.closed)
        for first, last in clauses(text, start, end):
            for low, high, words, value in _in_clause(text[first:last], sentence, reports):
                low, high = first + low, first + high
                yield Fact(low, high, "presence", value, (Alternative(f"not {value}", low, high, words),))
        if not _ANSWERED.match(sentence):
            yield from states(text, start, end)


def _contrary(match: re.Match[str], contraries: dict[str, str], kind: str) -> Fact:
    word = match.group("word")
    other = contraries[word.lower()]
    other = other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other
    start, end = match.span("word")
    return Fact(start, end, kind, word.lower(), (Alternative(other.lower(), start, end, other),))


def _in_clause(clause: str, sentence: str, reports: bool) -> Iterator[Found]:
    for written, write in RULES:
        match = pattern(written).fullmatch(clause)
        if match and (reports or write is not fragment):
            yield from write(match)
            return
    # "No, the film shows no effusion": the answer would contradict the rest.
    if _ANSWERS.match(sentence):
        return
    # So would "normal lungs with abnormalities", and "clear lungs with an effusion".
    clear = re.search(r"\bclear\b", sentence, re.IGNORECASE) is not None
    for written, write in INSIDE:
        for match in pattern(written).finditer(clause):
            finding = match.groupdict().get("np")
            vague = finding and states_normal(sentence) and _VAGUE.search(finding)
            if not vague and not (finding and clear):
                yield from write(match)
