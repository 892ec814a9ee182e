"""LLaVA-Med's scores, faults and all, to compare with published tables and for nothing else.

They follow its evaluation script (Li et al. 2023, arXiv:2306.00890) and its normalisation, which is that of
VQA (Antol et al. 2015, arXiv:1505.00468) less the table that restores apostrophes. One published state of the
script leaves out closed answers that say the wrong one of yes and no; here they count as 0.
"""

import math
import re
from collections import Counter

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_DIGIT_COMMA = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
# The original passes a flag where the count belongs, so that only the first 32 periods go.
_PERIODS_REMOVED = 32
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {"none": "0"} | {word: str(value) for value, word in enumerate(_WORDS)}
_ARTICLES = frozenset({"a", "an", "the"})


def legacy_closed(prediction: str, gold: str) -> float:
    """Return 1 where `gold` occurs in a `prediction` that contains "yes" or "no", else 0.

    All three are substrings: "normal" and "not" contain a no, and the constant answer "yes or no" is right
    about every yes/no question.
    """
    answer, reference = legacy_normalise(prediction), legacy_normalise(gold)
    return float(("yes" in answer or "no" in answer) and reference in answer)


def legacy_open_recall(prediction: str, gold: str) -> float:
    """Return hits / (hits + misses) in [0, 1]; 0 where either side is empty.

    Hits count the *answer's* occurrences of the reference's words, misses the reference's words that the
    answer lacks. Repeating one right word therefore drives the score towards 1, and so does listing common
    words, since nothing said too much is counted.
    """
    answer, reference = _counts(prediction), _counts(gold)
    if not answer or not reference:
        return 0.0
    hits = sum(answer[word] for word in reference)
    misses = sum(count for word, count in reference.items() if word not in answer)
    return hits / (hits + misses)


def legacy_exact_match(prediction: str, gold: str) -> float:
    """Return how many distinct reference words `prediction` has, over the number of all its words.

    Published as exact match, it is a precision: "lung" scores 1 against "left lung", a sentence that contains
    the reference far less. An empty answer scores 0.
    """
    answer, reference = _counts(prediction), _counts(gold)
    return len(reference.keys() & answer.keys()) / answer.total() if answer else 0.0


def legacy_open_f1(prediction: str, gold: str) -> float:
    """Return the F1 of the legacy recall and its precision hits / (hits + the answer's other words)."""
    answer, reference = _counts(prediction), _counts(gold)
    hits = sum(answer[word] for word in reference)
    if not hits:
        return 0.0
    precision, recall = hits / answer.total(), legacy_open_recall(prediction, gold)
    return 2 * precision * recall / (precision + recall)


def legacy_bleu(prediction: str, gold: str, n: int) -> float:
    """Return brevity penalty times the clipped precision of n-grams of the one length `n`.

    BLEU-n (Papineni et al. 2002) is the geometric mean over all lengths up to n. Published with the weights
    (0, 1, 0) and (0, 0, 1) this "BLEU-2" and "BLEU-3" are not, and answers of fewer than n words get 0.
    """
    answer, reference = legacy_normalise(prediction).split(), legacy_normalise(gold).split()
    if not set(answer) & set(reference):
        return 0.0
    said, known = _ngrams(answer, n), _ngrams(reference, n)
    brevity = math.exp(min(0.0, 1 - len(reference) / len(answer)))
    return brevity * (said & known).total() / max(1, said.total())


def legacy_closed_scores(prediction: str, gold: str) -> dict[str, float]:
    """Return LLaVA-Med's score of an answer to a closed question by name."""
    return {"legacy_closed": legacy_closed(prediction, gold)}


def legacy_open_scores(prediction: str, gold: str) -> dict[str, float]:
    """Return LLaVA-Med's scores of an answer to an open question by name."""
    return {
        "legacy_open_recall": legacy_open_recall(prediction, gold),
        "legacy_open_f1": legacy_open_f1(prediction, gold),
        "legacy_exact_match": legacy_exact_match(prediction, gold),
        **{f"legacy_bleu_{n}": legacy_bleu(prediction, gold, n) for n in (1, 2, 3)},
    }


def legacy_normalise(text: str) -> str:
    """Return `text` in the spelling that the legacy scores compare."""
    result = text.lower()
    for mark in _PUNCTUATION:
        beside_blank = f"{mark} " in text or f" {mark}" in text or _DIGIT_COMMA.search(text)
        result = result.replace(mark, "" if beside_blank else " ")
    words = (_NUMBERS.get(word, word) for word in _PERIOD.sub("", result, count=_PERIODS_REMOVED).split())
    return " ".join(word for word in words if word not in _ARTICLES)


def _counts(text: str) -> Counter[str]:
    return Counter(legacy_normalise(text).split())


def _ngrams(words: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))
