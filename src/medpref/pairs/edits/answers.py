"""Answers of a sentence that begin with yes or no, and verbs that are denied: both turn with their verb."""

import re
from collections.abc import Iterator

from medpref.pairs.edits.fact import Alternative, Fact, Replacement, combined
from medpref.pairs.edits.phrases import capital, part_of, pattern, with_article

_VERBS = {
    "show": "shows",
    "demonstrate": "demonstrates",
    "reveal": "reveals",
    "contain": "contains",
    "have": "has",
    "appear": "appears",
    "seem": "seems",
    "indicate": "indicates",
    "suggest": "suggests",
    "use": "uses",
    "enhance": "enhances",
    "extend": "extends",
    "involve": "involves",
    "cross": "crosses",
    "affect": "affects",
    "compress": "compresses",
    "display": "displays",
    "look": "looks",
    "lie": "lies",
}
_BASES = {third: base for base, third in _VERBS.items()}
DENIABLE = "|".join(_VERBS)
"""A pattern of the verbs that "does not" may stand before."""
_YES_NO = r"\W*(?P<answer>yes|no),\s+(?:(?!there\b)[^,.;:]*?\s)"
_AFFIRMED = re.compile(
    rf"{_YES_NO}(?P<adverb>(?:clearly|definitively|definitely|clearly also)\s+)?"
    rf"(?P<verb>is|are|was|were|{'|'.join([*_BASES, *_VERBS])})\b(?P<rest>[^,;:.]*)[.]?\s*",
    re.IGNORECASE,
)
_DENIED = re.compile(
    rf"(?:(?:{_YES_NO})|(?<![^\s]))(?P<verb>(?P<be>is|are|was|were)\s+not"
    rf"|(?P<do>do|does)\s+not\s+(?:clearly\s+)?(?P<base>{DENIABLE}))\b"
    r"(?P<any>\s+any\b(?:\s+(?:evidence|signs?)\s+of\b)?(?:\s+PHRASE)?)?",
)
_NEGATIVE = re.compile(r"\b(no|not|nor|neither|without|never|none|any)\b|n't\b", re.IGNORECASE)
_LIMITED = re.compile(r"\b(normal|only|also|but|because|while|although|however|which|than)\b", re.IGNORECASE)


def turned(text: str, start: int, end: int, kind: str) -> Iterator[Fact]:
    """Yield the answer of the sentence from `start` to `end` turned: "Yes, it is" becomes "No, it is not".

    `kind` is the kind of a wrong yes or no to the question.
    """
    sentence = text[start:end]
    made = _to_no(sentence) or _to_yes(sentence)
    if made:
        low, high = start + made.start, start + made.end
        yield Fact(low, high, kind, text[low:high].lower(), (made._replace(start=low, end=high),))


def _to_no(sentence: str) -> Alternative | None:
    match = _AFFIRMED.fullmatch(sentence)
    if match is None or match.group("answer").lower() != "yes" or _turns(match.group("rest")):
        return None
    if _NEGATIVE.search(sentence, match.end("answer")):
        return None
    verb = match.group("verb").lower()
    if verb in _BASES:
        words = f"does not {_BASES[verb]}"
    elif verb in _VERBS:
        words = f"do not {verb}"
    else:
        words = f"{verb} not"
    adverb = match.group("adverb") or ""
    first = match.start("adverb") if adverb else match.start("verb")
    answer = capital("no", match.group("answer"))
    return combined(
        "no",
        sentence,
        [Replacement(*match.span("answer"), answer), Replacement(first, match.end("verb"), words)],
    )


def _to_yes(sentence: str) -> Alternative | None:
    match = pattern(_DENIED.pattern).match(sentence)
    if match is None or (match.group("answer") or "").lower() != "no":
        return None
    rest = sentence[match.end() :].rstrip(" .")
    if _turns(rest) or re.search(r"[,;:.]", rest) or _NEGATIVE.search(sentence, match.end()):
        return None
    before = sentence[match.end("answer") : match.start("verb")]
    if _NEGATIVE.search(before) or _turns(before):
        return None
    answer = capital("yes", match.group("answer"))
    words = verb_affirmed(match) + any_affirmed(match.group("any"))
    return combined(
        "yes",
        sentence,
        [Replacement(*match.span("answer"), answer), Replacement(match.start("verb"), match.end(), words)],
    )


def _turns(rest: str) -> bool:
    """Tell whether the rest of a sentence would no longer fit when its verb is turned."""
    return _LIMITED.search(rest) is not None


def verb_affirmed(match: re.Match[str]) -> str:
    """Return "is" for "is not", and "shows" for "does not show"."""
    if match.group("be"):
        return match.group("be")
    base = match.group("base")
    return _VERBS[base.lower()] if match.group("do").lower() == "does" else base


def any_affirmed(words: str | None) -> str:
    """Return what stands for "any ..." where it is no longer denied: "any mass" becomes "a mass"."""
    if not words:
        return ""
    evidence = re.match(r"\s+any\b\s*((?:evidence|signs?)\s+of\b\s*)?(.*)", words, re.IGNORECASE | re.DOTALL)
    if evidence is None:
        return words
    phrase = evidence.group(2)
    if evidence.group(1) or not phrase:
        whole = f"{evidence.group(1) or ''}{phrase}".rstrip()
        return f" {whole}" if whole else ""
    return f" {with_article(part_of(phrase))}"
