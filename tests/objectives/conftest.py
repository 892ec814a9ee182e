from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from medpref.objectives import Scores
from medpref.scoring.cells import Cell


def with_tokens(scores: Scores) -> Scores:
    """Return the scores with token tables: each response's log-prob is spread evenly over its tokens."""
    return replace(
        scores,
        tokens=spread(scores.logps, scores.lengths),
        reference_tokens=spread(scores.reference, scores.lengths),
    )


def spread(sums: Mapping[Cell, Tensor], lengths: Mapping[Cell, Tensor]) -> dict[Cell, Tensor]:
    tables = {}
    for cell, values in sums.items():
        inside = torch.arange(int(lengths[cell].max())) < lengths[cell][:, None]
        tables[cell] = (values / lengths[cell])[:, None] * inside
    return tables
