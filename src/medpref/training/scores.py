"""From the scorer's numbers to what an objective reads."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from medpref.objectives.base import Scores
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell, CellScore
from medpref.training.parts import TrainingPart


def gather_scores(
    part: TrainingPart,
    pairs: Sequence[Pair],
    cells: Mapping[Cell, CellScore],
    reference: Mapping[Cell, Tensor],
) -> Scores:
    """Put together what a part's objective reads: the policy's scores, the reference's, and the weights."""
    objective = part.objective
    logps = {cell: score.logps for cell, score in cells.items()}
    device = next(iter(logps.values())).device
    reference = {cell: values.to(device) for cell, values in reference.items()}
    weight = [pair.weight or 0.0 for pair in pairs] if objective.needs_weight else None
    return Scores(
        logps,
        {cell: values.sum(1) for cell, values in reference.items()},
        {cell: score.lengths for cell, score in cells.items()},
        torch.tensor(weight, device=device) if weight is not None else None,
        {cell: score.tokens for cell, score in cells.items()} if objective.needs_tokens else {},
        reference if objective.needs_tokens else {},
    )
