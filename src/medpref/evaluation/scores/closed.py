"""Closed questions: yes or no by polarity, other choices by exact match; what cannot be read is counted."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from medpref.evaluation.scores.plain import addresses_the_scorer, plain, without_lead
from medpref.evaluation.scores.polarity import Polarity, polarity
from medpref.evaluation.scores.text import normalise

__all__ = ["ClosedScore", "ClosedSummary", "Polarity", "polarity", "score_closed", "summarise_closed"]

_GOLD_POLARITY = {"yes": Polarity.YES, "no": Polarity.NO}
_READABLE = frozenset(_GOLD_POLARITY.values())


class ClosedScore(NamedTuple):
    """The score of one closed answer.

    Attributes:
        correct: whether the answer equals the reference. An answer that cannot be read is wrong.
        parsed: whether the answer could be read at all.
        reason: what was read, for whoever checks the scorer.
    """

    correct: bool
    parsed: bool
    reason: str

    def scores(self) -> dict[str, float]:
        """Return the scores under the names that logs use: ``accuracy`` and ``unparsed``, each 0 or 1."""
        return {"accuracy": float(self.correct), "unparsed": float(not self.parsed)}


class ClosedSummary(NamedTuple):
    """Figures over closed answers, each in [0, 1], NaN where n is 0.

    Attributes:
        accuracy: the share of correct answers, unreadable ones counted as wrong.
        balanced_accuracy: over the yes/no questions, the mean of the accuracy where the reference is yes and
            where it is no, so that a constant answer scores one half; NaN where either does not occur.
        unparsed_rate: the share of answers that could not be read.
        n: the number of answers.
    """

    accuracy: float
    balanced_accuracy: float
    unparsed_rate: float
    n: int


def gold_polarity(gold: str) -> Polarity | None:
    """Return the polarity of a reference that is yes or no once normalised, None for any other."""
    return _GOLD_POLARITY.get(normalise(gold))


def score_closed(prediction: str, gold: str, choices: Sequence[str] | None = None) -> ClosedScore:
    """Score one answer to a closed question.

    Args:
        prediction: the answer as generated.
        gold: the reference: yes, no, or one of the choices.
        choices: all the answers the question allows, None or empty where unknown; ignored for yes
            and no. The reference is always one of them.

    Returns:
        For yes/no the comparison of polarities, where neither and both are unparsed; for other references
        the exact match after normalising, without markup and a leading "Answer:", where an empty answer, one
        that is none of `choices`, and orders to the scorer are unparsed. For lettered choices there is
        `medpref.evaluation.scores.choice.score_choice`.
    """
    expected = gold_polarity(gold)
    if expected is not None:
        found = polarity(prediction)
        return ClosedScore(found is expected, found in _READABLE, f"polarity: {found.value}")
    said = plain(prediction)
    answer, reference = normalise(without_lead(said)), normalise(gold)
    if addresses_the_scorer(said):
        return ClosedScore(False, False, "addresses the scorer")
    if not answer:
        return ClosedScore(False, False, "empty")
    if answer == reference:
        return ClosedScore(True, True, "match")
    if choices and answer not in {normalise(choice) for choice in choices}:
        return ClosedScore(False, False, "none of the choices")
    return ClosedScore(False, True, "another answer")


def summarise_closed(golds: Sequence[str], scores: Sequence[ClosedScore]) -> ClosedSummary:
    """Return accuracy, balanced accuracy and unparsed rate over answers, `golds` and `scores` in step."""
    if not scores:
        return ClosedSummary(math.nan, math.nan, math.nan, 0)
    by_gold: dict[Polarity | None, list[bool]] = defaultdict(list)
    for gold, score in zip(golds, scores, strict=True):
        by_gold[gold_polarity(gold)].append(score.correct)
    recalls = [_mean(by_gold[expected]) for expected in _GOLD_POLARITY.values()]
    return ClosedSummary(
        accuracy=_mean([score.correct for score in scores]),
        balanced_accuracy=sum(recalls) / len(recalls),
        unparsed_rate=_mean([not score.parsed for score in scores]),
        n=len(scores),
    )


def _mean(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else math.nan
