"""What kind of error a wrong answer is, by rules on the texts: the kinds of MedHEval.

MedHEval (arXiv:2503.02157) tells visual misinterpretation (anatomical, measurement, symptom, technique) from
knowledge deficiency and context misalignment. The rules never see the image. They know

- what the question asks for (`medpref.pairs.kinds`, `medpref.pairs.edits`),
- the facts that the right and the wrong answer state differently (`medpref.pairs.edits.find_facts`),
- whether the answer is an answer to the question at all.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from medpref.evaluation.scores.closed import gold_polarity
from medpref.evaluation.scores.polarity import Polarity, polarity
from medpref.evaluation.scores.text import normalise
from medpref.pairs.edits import MEDHEVAL_KINDS, find_facts
from medpref.pairs.edits.asking import asked
from medpref.pairs.kinds import classify
from medpref.pairs.pair import IMAGE_PLACEHOLDER

VISUAL = ("anatomical", "measurement", "symptom", "technique")
KNOWLEDGE, CONTEXT, UNKNOWN = "knowledge", "context", "unknown"
ERROR_KINDS = (*VISUAL, KNOWLEDGE, CONTEXT, UNKNOWN)
"""All kinds; ``unknown`` is what the texts do not tell."""

BY_QUESTION: Mapping[str, str] = {
    "modality": "technique",
    "plane": "technique",
    "organ": "anatomical",
    "position": "anatomical",
    "size": "measurement",
    "count": "measurement",
    "abnormality": "symptom",
    "presence": "symptom",
    "colour": "symptom",
    "attribute": "symptom",
}
"""Question kind → what an answer to such a question has wrong, where no single fact tells."""

_REFUSES = re.compile(
    r"\b(can ?not|can't|unable|not able|impossible|difficult)\b.{0,40}"
    r"\b(tell|say|determine|see|answer|provide)\b"
    r"|\bas an? (ai|language model)\b|\b(please )?(consult|see) (a|your) \w+"
    r"|\bi (do not|don't) know\b|\bi'?m sorry\b",
    re.IGNORECASE,
)
# Requests for a description are of the question kind "other", as those for knowledge are.
_DESCRIBES = re.compile(r"\b(describe|description|caption|report|summar\w+)\b", re.IGNORECASE)
_OPENS = re.compile(r"^\W*(yes|no)\b", re.IGNORECASE)
_STEM = re.compile(r"[a-z]{5}")
_ANYWHERE = frozenset({"image", "shows", "shown", "prese", "there", "which", "where", "these", "seen"})
"""Beginnings of words that tell nothing of what is spoken about."""


def error_kinds(question: str, gold: str, answer: str) -> tuple[str, ...]:
    """Return the kinds of error of a wrong answer, the main one first; at least one.

    Args:
        question: what was asked; ``<image>`` in it is passed over.
        gold: the right answer.
        answer: the wrong one, as generated.

    Returns:
        Names of `ERROR_KINDS`. In this order: an answer that cannot be read, refuses or speaks of something
        else is ``context``; one to a question that is not answered off the image is ``knowledge``; otherwise
        the visual kinds of the facts that differ, and where none does, of what is asked for.
    """
    question = question.replace(IMAGE_PLACEHOLDER, " ").strip()
    if _is_no_answer(gold, answer):
        return (CONTEXT,)
    if _asks_knowledge(question):
        return (KNOWLEDGE,)
    if _is_yes_or_no(gold):
        return (_of_question(question, gold),)
    facts, strange = _differing(question, gold, answer)
    if facts:
        return facts
    return (CONTEXT,) if strange else (_of_question(question, gold),)


def _is_no_answer(gold: str, answer: str) -> bool:
    """Tell whether an answer says nothing, refuses, asks back, or is no yes or no where one is right."""
    if not normalise(answer) or answer.rstrip().endswith("?"):
        return True
    if not _is_yes_or_no(gold):
        # A bare yes or no to a question for something else.
        return _REFUSES.search(answer) is not None or gold_polarity(answer) is not None
    said = polarity(answer)
    return said in (Polarity.NEITHER, Polarity.BOTH) and normalise(answer) not in ("normal", "abnormal")


def _is_yes_or_no(gold: str) -> bool:
    """Tell whether a right answer is yes or no, perhaps with more words behind it."""
    return _OPENS.match(gold) is not None


def _asks_knowledge(question: str) -> bool:
    kinds = classify(question)
    other = kinds[0].name == "other" and kinds[0].score > 0 and not _DESCRIBES.search(question)
    return asked(question).knowledge or other


def _of_question(question: str, gold: str) -> str:
    """Return what an answer to the question has wrong, by what is asked for."""
    if _is_yes_or_no(gold):
        # "Is this an MRI?", "… on the left side?": yes or no to how it was taken, or to where it is.
        closed = MEDHEVAL_KINDS[asked(question).closed]
        if closed != "symptom":
            return closed
    found = [BY_QUESTION[kind.name] for kind in classify(question) if kind.name in BY_QUESTION]
    return found[0] if found else UNKNOWN


def _differing(question: str, gold: str, answer: str) -> tuple[tuple[str, ...], bool]:
    """Return the kinds of the facts that two answers state differently, and whether one has others alone.

    Kinds stand in the order of the right answer's facts, those that were asked for first.
    """
    right, wrong = _facts(question, gold), _facts(question, answer)
    both = [kind for kind in right if kind in wrong and right[kind] != wrong[kind]]
    wanted = asked(question).kinds
    both.sort(key=lambda kind: wanted.index(kind) if kind in wanted else len(wanted))
    both += _added_or_left_out(right, wrong)
    kinds = tuple(dict.fromkeys(MEDHEVAL_KINDS[kind] for kind in both))
    broad_right = {MEDHEVAL_KINDS[kind] for kind in right}
    broad_wrong = {MEDHEVAL_KINDS[kind] for kind in wrong}
    strange = bool(broad_right and broad_wrong and not broad_right & broad_wrong)
    strange = strange or bool(wrong and not right and _off_topic(wanted, broad_wrong))
    if strange and not _stems(answer) & _stems(f"{question} {gold}"):
        return (), True
    return kinds, False


def _stems(text: str) -> set[str]:
    """Return the first five letters of a text's longer words: inflected words are the same by them."""
    return {stem for word in normalise(text).split() for stem in _STEM.findall(word)[:1]} - _ANYWHERE


def _off_topic(wanted: tuple[str, ...], stated: set[str]) -> bool:
    """Tell whether an answer states nothing of the sort that is asked for."""
    return bool(wanted) and not stated & {MEDHEVAL_KINDS[kind] for kind in wanted}


def _added_or_left_out(right: Mapping[str, set[str]], wrong: Mapping[str, set[str]]) -> Iterator[str]:
    """Yield what one of two descriptions says and the other does not; single answers are no descriptions."""
    if len(right) > 1 and len(wrong) > 1:
        yield from (kind for kind in wrong if kind not in right)


def _facts(question: str, text: str) -> dict[str, set[str]]:
    """Return the values that a text states, by kind."""
    found: dict[str, set[str]] = defaultdict(set)
    for fact in find_facts(text, question):
        found[fact.kind].add(fact.value.casefold())
    return dict(found)
