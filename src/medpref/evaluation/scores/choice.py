"""Lettered multiple choice: an answer names one choice by its letter, by its text, or by both."""

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase

from medpref.evaluation.scores.closed import ClosedScore
from medpref.evaluation.scores.plain import addresses_the_scorer, plain, without_lead
from medpref.evaluation.scores.text import fold, normalise

# What follows the last of these is the answer: models repeat the choices, or reason, before it.
_VERDICT = re.compile(
    r"\b(?:answer|option|choice)\s*(?:is|are|would be|:|=)+\s*(?:(?:option|choice)\b)?\s*:?\s*"
)
# "A" is an article too: as a letter it needs a mark, the end or a reason behind it.
_LETTER_BEHIND = re.compile(r"\s*(?:[^\w\s]|$)|\s+(?:because|since|as|due)\b")
_LETTER_A = re.compile(r"\W*a\s*[.:)]\W*\w")
_JOINED = r"\s*(?:,|/|&|or\b|and\b|nor\b)\s*(?:(?:or|and)\b\s*)?"


def score_choice(
    prediction: str, gold: str, choices: Mapping[str, str] | Sequence[str], *, letters: bool = True
) -> ClosedScore:
    """Score one answer to a question with lettered choices.

    Args:
        prediction: the answer as generated.
        gold: the letter or the text of the right choice.
        choices: the texts by their letters, or in the order of the letters A, B, C, …
        letters: whether the model was shown the letters; if not, only texts are read.

    Returns:
        Correct where the answer names the right choice and no other: "B", "(b).", "B: text", "The answer is
        B" or the text itself. Unparsed where it names none, more than one, or a letter with another choice's
        text. Choices of equal text count as one.
    """
    texts = _by_letter(choices)
    expected = _named(fold(gold), texts) or {_key(gold)}
    said = plain(prediction)
    if addresses_the_scorer(said):
        return ClosedScore(False, False, "addresses the scorer")
    found = _named(said, texts, letters=letters)
    if len(found) != 1:
        return ClosedScore(False, False, "several choices" if found else "none of the choices")
    (choice,) = found
    return ClosedScore(choice in expected, True, f"choice: {choice}")


def _by_letter(choices: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    """Return the comparable texts by their lower-case letters."""
    if not isinstance(choices, Mapping):
        choices = dict(zip(ascii_uppercase, choices, strict=False))
    return {letter.strip().lower(): _key(text) for letter, text in choices.items()}


def _key(text: str) -> str:
    return normalise(text) or fold(text).strip()  # choices such as "+" and "-" have no words


def _named(said: str, texts: Mapping[str, str], *, letters: bool = True) -> set[str]:
    """Return the texts of the choices that a plain answer names."""
    verdicts = list(_VERDICT.finditer(said))
    behind = [said[verdicts[-1].end() :]] if verdicts else []
    for part in [*behind, without_lead(said)]:
        found = _whole(part, texts, letters) or (_led(part, texts) if letters else set())
        if found:
            return found
    return set()


def _whole(part: str, texts: Mapping[str, str], letters: bool) -> set[str]:
    """Return what the whole of `part` names, as a letter or as a text; both where they differ."""
    lettered = _LETTER_A.match(part)  # which normalising would drop as an article
    found = set() if lettered else {text for text in texts.values() if text == _key(part)}
    alone = re.fullmatch(rf"\W*(?:option|choice)?\s*({_any(texts)})\W*", part)
    if letters and alone:
        found.add(texts[alone[1]])
    return found


def _led(part: str, texts: Mapping[str, str]) -> set[str]:
    """Return what `part` names where a letter leads and something follows."""
    letter = _any(texts)
    lead = re.match(rf"\W*(?:(?:option|choice)\s+)?\(?({letter})\)?(?!\w|')", part)
    if lead is None:
        return set()
    named, behind = {texts[lead[1]]}, part[lead.end() :]
    rest = _key(behind)
    if rest in texts.values():
        return named | {rest}
    joined = re.match(rf"{_JOINED}\(?({letter})\)?(?!\w|')", behind)
    if joined:
        return named | {texts[joined[1]]}
    if lead[1] == "a" and not part[: lead.end()].endswith(")") and _LETTER_BEHIND.match(behind) is None:
        return set()
    marked = re.findall(rf"(?<!\w)({letter})\s*[:)]", behind)
    return named | {texts[other] for other in marked}


def _any(texts: Mapping[str, str]) -> str:
    return f"[{re.escape(''.join(texts))}]"
