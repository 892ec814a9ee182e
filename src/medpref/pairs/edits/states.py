"""Predicates of normality and their contraries: clear lungs that become opacified."""

import re
from collections.abc import Iterator
from functools import cache

from medpref.pairs.edits.fact import Alternative, Fact, Replacement, combined
from medpref.pairs.edits.grammar import article, explains, is_denied
from medpref.pairs.edits.lists import State, either, presence
from medpref.pairs.edits.phrases import capital

_ADVERB = (
    r"(?:(?:mildly|moderately|severely|markedly|slightly|minimally|massively|borderline|completely|partially"
    r"|diffusely|grossly|clearly)\s+)?"
)
_ENDS = (
    r"(?=\s*[.,;]|\s*\Z|\s+(?:bilaterally|with|without|for|but|on\s+the)\b|\s+in\s+\w+\s+and\b"
    r"|\s+and\s+(?!texture|shape|contour|config|position|appear|morph|calib|number|size))"
)
_ARTICLE = re.compile(r"\b(an?)\s+\Z", re.IGNORECASE)
_DENIAL = re.compile(r"\b(no|not|without|nor|free of)\b", re.IGNORECASE)
# Denied beside "abnormal" or "opacified", these would contradict it.
_VAGUE = re.compile(
    r"focal|abnormal|opaci|consolid|airspace|infiltrat|disease|finding|lesion|normal|clear|enlarge",
    re.IGNORECASE,
)


@cache
def _predicate() -> re.Pattern[str]:
    words = either([state.was for state in presence().states])
    return re.compile(
        r"(?P<subject>\w[\w /-]*?)\s+(?:is|are|was|were|appears?|remains?|looks?)\s+(?:to\s+be\s+)?"
        r"(?:(?:overall|both|now|well[ -]\w+\s+and)\s+)?"
        rf"(?P<state>{_ADVERB}(?P<was>{words})){_ENDS}",
        re.IGNORECASE,
    )


@cache
def _telegraphic() -> re.Pattern[str]:
    """Return the pattern of a sentence without a verb: "Lungs clear." """
    words = either([state.was for state in presence().states])
    return re.compile(
        rf"(?P<subject>(?:(?!(?:no|not|of|is|are|was|were|has|have|appears?|remains?|looks?)\b)[A-Za-z/-]+\s+){{0,4}})(?P<state>{_ADVERB}(?P<was>{words}))\s*[.;]?",
        re.IGNORECASE,
    )


_BEFORE_NOUN = re.compile(
    r"\b(?P<state>normal|unremarkable|hyperinflated|clear(?=\s+(?:lung|lungs|sinuses)\b))\s+"
    r"(?!in\b|for\b|and\b|or\b|limits?\b|variant|saline|pressure|by\b|as\b|with|on\b|at\b|to\b|from\b)(?=[a-z])",
    re.IGNORECASE,
)
_BEFORE_NOUNS = {
    "normal": "abnormal",
    "unremarkable": "abnormal",
    "clear": "opacified",
    "hyperinflated": "normally inflated",
}


def states(text: str, first: int, last: int) -> Iterator[Fact]:
    """Yield the predicates of normality of the sentence from `first` to `last`."""
    found = list(_predicate().finditer(text, first, last))
    whole = _telegraphic().fullmatch(text, first, last)
    if not found and whole and (whole.group("subject") or _header(text, first)):
        found = [whole]
    for match in found:
        state = _fitting(match.group("was"), match.group("subject").strip() or _header(text, first))
        if state and not _contradicts(text, match.start("was"), match.end("was"), last, state.now):
            start, end = match.span("state" if state.was == "enlarged" or state.was == "opacified" else "was")
            said = match.group("was")
            now = capital(state.now, text[start]) if text[start].isupper() else state.now
            yield Fact(start, end, state.kind, said.lower(), (Alternative(state.now, start, end, now),))
    yield from _attributes(text, first, last)


def _header(text: str, first: int) -> str:
    """Return the heading before a sentence: "Lungs: Clear." """
    header = re.search(r"([A-Za-z][\w ]*):\s*\Z", text[:first])
    return header.group(1) if header else ""


def _fitting(said: str, subject: str) -> State | None:
    """Return the first state that fits the subject: lungs that are not clear are opacified."""
    for state in presence().states:
        if state.was == said.lower() and re.search(rf"(?:{state.of})\Z", subject, re.IGNORECASE):
            return state
    return None


def _contradicts(text: str, start: int, end: int, last: int, now: str) -> bool:
    """Tell whether a state is denied, or what is denied behind it leaves no room for its contrary."""
    if is_denied(text, start) or explains(text, start):
        return True
    # "The tube is absent with its tip in the atrium" tells that it is wrong.
    if now == "absent" and re.match(r"\s+with\b", text[end:last]):
        return True
    denial = _DENIAL.search(text, end, last)
    return denial is not None and _VAGUE.search(text, denial.end(), last) is not None


def _attributes(text: str, first: int, last: int) -> Iterator[Fact]:
    """Yield states before a noun: "Normal heart size." """
    for match in _BEFORE_NOUN.finditer(text, first, last):
        said = match.group("state")
        now = _BEFORE_NOUNS[said.lower()]
        if _contradicts(text, match.start(), match.end(), last, now):
            continue
        start, end = match.span("state")
        replacements = [Replacement(start, end, capital(now, said))]
        before = _ARTICLE.search(text, first, start)
        if before and before.group(1).lower() != article(now):
            replacements.append(Replacement(*before.span(1), capital(article(now), before.group(1))))
        yield Fact(start, end, "presence", said.lower(), (combined(now, text, replacements),))
