"""The metric names that users of preference trainers expect."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from medpref.objectives.base import Scores
from medpref.scoring.cells import Cell

PairValues = Float[Tensor, " pairs"]

# The rejected side of each cell pair that a margin is reported for, with the margin's names.
MARGINS = {
    Cell.CLEAN_REJECTED: ("rewards/rejected", "rewards/margins", "rewards/accuracies"),
    Cell.REJECTED_REJECTED: ("rewards/rejected", "rewards/margins", "rewards/accuracies"),
    Cell.REJECTED_CHOSEN: (
        "rewards/chosen_rejected_image",
        "rewards/image_margins",
        "rewards/image_accuracies",
    ),
}
LOGPS = {
    Cell.CLEAN_CHOSEN: "logps/chosen",
    Cell.CLEAN_REJECTED: "logps/rejected",
    Cell.REJECTED_CHOSEN: "logps/chosen_rejected_image",
    Cell.REJECTED_REJECTED: "logps/rejected_rejected_image",
}


@torch.no_grad()
def batch_metrics(scores: Scores, beta: float) -> dict[str, float]:
    """Return one batch's means: rewards are β·Δ, logps are summed over the response, all in nats."""
    metrics = {LOGPS[cell]: values.mean().item() for cell, values in scores.logps.items()}
    chosen = Cell.CLEAN_CHOSEN
    metrics["nll_loss"] = -(scores.logps[chosen] / scores.lengths[chosen]).mean().item()
    if chosen not in scores.reference:
        return metrics
    reward = beta * scores.delta(chosen)
    metrics["rewards/chosen"] = reward.mean().item()
    for cell, (name, margin_name, accuracy_name) in MARGINS.items():
        if cell in scores.reference:
            other = beta * scores.delta(cell)
            metrics[name] = other.mean().item()
            metrics[margin_name] = (reward - other).mean().item()
            metrics[accuracy_name] = (reward > other).float().mean().item()
    return metrics


class RunningMeans:
    """Means of metrics since they were last taken."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, metrics: Mapping[str, float]) -> None:
        """Add one batch's metrics."""
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """Return the means and start anew."""
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return means
