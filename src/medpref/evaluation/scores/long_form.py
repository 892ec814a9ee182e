"""Captions and reports by their words: BLEU, ROUGE-L, and over all answers distinct outputs and length."""

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from medpref.evaluation.scores.plain import LONGEST

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics.bleu import BLEU

_PERCENT = 100.0


class LongFormScore(NamedTuple):
    """The scores of one long answer, each in [0, 1]; the fields are the names that logs use.

    Attributes:
        bleu: sentence BLEU-4 as sacrebleu counts it (Post 2018, arXiv:1804.08771): tokenised as 13a, case
            counts, n-grams without a match smoothed exponentially, only lengths that the answer has. Say it
            beside `corpus_bleu`: the mean of sentence BLEU is not BLEU.
        rouge_l: F1 of the longest common subsequence of words (Lin 2004), as rouge-score counts it without a
            stemmer: lower case, only a to z and digits.
    """

    bleu: float
    rouge_l: float

    def scores(self) -> dict[str, float]:
        """Return the scores by name."""
        return self._asdict()


def score_long_form(prediction: str, gold: str) -> LongFormScore | None:
    """Score one caption or report.

    Both texts are read up to 10,000 characters, since the time for ROUGE-L grows with the product of the
    lengths.

    Args:
        prediction: the text as generated, markup included; an empty one scores 0 throughout.
        gold: the reference.

    Returns:
        The scores, or None where the reference has no word of a to z or digits: nothing can be measured
        against it, and the sample is unscored.
    """
    answer, reference = prediction[:LONGEST], gold[:LONGEST]
    if not any(character.isascii() and character.isalnum() for character in reference):
        return None
    bleu = _sentence_bleu().sentence_score(answer, [reference]).score / _PERCENT
    rouge = _rouge_scorer().score(reference, answer)["rougeL"].fmeasure
    return LongFormScore(bleu=min(1.0, bleu), rouge_l=float(rouge))


def corpus_bleu(predictions: Sequence[str], golds: Sequence[str]) -> float:
    """Return BLEU-4 in [0, 1] of all answers together, as sacrebleu counts it by default; NaN for none.

    Both texts are read up to 10,000 characters.
    """
    _in_step(predictions, golds)
    if not predictions:
        return math.nan
    from sacrebleu.metrics.bleu import BLEU

    answers, references = [text[:LONGEST] for text in predictions], [text[:LONGEST] for text in golds]
    return min(1.0, float(BLEU().corpus_score(answers, [references]).score) / _PERCENT)


def distinct_rate(predictions: Sequence[str], golds: Sequence[str]) -> float:
    """Return the number of distinct answers over the number of answers, in (0, 1]; NaN for none.

    White space and case do not make answers distinct. A model that collapsed says the same of most images
    and may still score well by the words that all references share. The references are not looked at.
    """
    _in_step(predictions, golds)
    distinct = {" ".join(text.split()).casefold() for text in predictions}
    return len(distinct) / len(predictions) if predictions else math.nan


def mean_words(predictions: Sequence[str], golds: Sequence[str]) -> float:
    """Return the mean number of words of an answer, split at white space; NaN for none.

    The references are not looked at: call it with them in both places for their length.
    """
    _in_step(predictions, golds)
    return sum(len(text.split()) for text in predictions) / len(predictions) if predictions else math.nan


def _in_step(predictions: Sequence[str], golds: Sequence[str]) -> None:
    if len(predictions) != len(golds):
        raise ValueError(f"{len(predictions)} answers, {len(golds)} references")


@cache
def _sentence_bleu() -> "BLEU":
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(effective_order=True)


@cache
def _rouge_scorer() -> "RougeScorer":
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=False)
