"""The scores of published tables, faults and all, to compare with those tables and for nothing else.

Both follow the evaluation script of LLaVA-Med (Li et al. 2023, arXiv:2306.00890) and its normalisation, which
is that of VQA (Antol et al. 2015, arXiv:1505.00468) less the table that restores apostrophes.
"""

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
    answer = Counter(legacy_normalise(prediction).split())
    reference = Counter(legacy_normalise(gold).split())
    if not answer or not reference:
        return 0.0
    hits = sum(answer[word] for word in reference)
    misses = sum(count for word, count in reference.items() if word not in answer)
    return hits / (hits + misses)


def legacy_normalise(text: str) -> str:
    """Return `text` in the spelling that the legacy scores compare."""
    result = text.lower()
    for mark in _PUNCTUATION:
        beside_blank = f"{mark} " in text or f" {mark}" in text or _DIGIT_COMMA.search(text)
        result = result.replace(mark, "" if beside_blank else " ")
    words = (_NUMBERS.get(word, word) for word in _PERIOD.sub("", result, count=_PERIODS_REMOVED).split())
    return " ".join(word for word in words if word not in _ARTICLES)
