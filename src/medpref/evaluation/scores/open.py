"""Open questions: exact match and token overlap, where repeating a word earns nothing."""

from collections import Counter
from typing import NamedTuple

from medpref.evaluation.scores.text import tokens


class OpenScore(NamedTuple):
    """The scores of one open answer, each in [0, 1]; the fields are the names that logs use.

    With P the tokens of the answer and G those of the reference, both multisets, and |P ∩ G| their overlap
    (each token counted as often as in the one that has it less often):

    Attributes:
        exact_match: 1 where both are equal after normalising.
        token_f1: 2·|P ∩ G| / (|P| + |G|), as SQuAD counts (Rajpurkar et al. 2016, arXiv:1606.05250).
        token_f1_set: the same over the sets of distinct tokens.
        token_recall: |P ∩ G| / |G|. Say it only with the precision beside it: long answers raise it.
        token_precision: |P ∩ G| / |P|, 0 for an empty answer.
    """

    exact_match: float
    token_f1: float
    token_f1_set: float
    token_recall: float
    token_precision: float

    def scores(self) -> dict[str, float]:
        """Return the scores by name."""
        return self._asdict()


def score_open(prediction: str, gold: str) -> OpenScore | None:
    """Score one answer to an open question.

    Args:
        prediction: the answer as generated; an empty one scores 0 throughout.
        gold: the reference.

    Returns:
        The scores, or None where the reference has no tokens: nothing can be measured against it, and the
        sample is unscored.
    """
    answer, reference = tokens(prediction), tokens(gold)
    if not reference:
        return None
    shared = (Counter(answer) & Counter(reference)).total()
    shared_distinct = len(set(answer) & set(reference))
    return OpenScore(
        exact_match=float(answer == reference),
        token_f1=2 * shared / (len(answer) + len(reference)),
        token_f1_set=2 * shared_distinct / (len(set(answer)) + len(set(reference))),
        token_recall=shared / len(reference),
        token_precision=shared / len(answer) if answer else 0.0,
    )
