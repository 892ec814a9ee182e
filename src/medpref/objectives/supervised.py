"""Supervised fine-tuning, the control that every preference method has to beat."""

from medpref.objectives.base import PairValues, Scores, objective
from medpref.scoring.cells import Cell


@objective("sft", Cell.CLEAN_CHOSEN, reference=False)
def sft(scores: Scores) -> PairValues:
    """Supervised fine-tuning: −log π(yw|m, x) / |yw|.

    The mean is per sequence, so that a long caption weighs as much as a short answer. In nats per token.
    """
    return -scores.logps[Cell.CLEAN_CHOSEN] / scores.lengths[Cell.CLEAN_CHOSEN]
