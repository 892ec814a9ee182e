"""The metric names that users of preference trainers expect, and their means over pairs."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from medpref.errors import InputError, did_you_mean
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
# Whether a metric is better the higher it is. Those that are good in neither direction are left out.
RISES = {
    "loss": False,
    "nll_loss": False,
    "rewards/margins": True,
    "rewards/accuracies": True,
    "rewards/image_margins": True,
    "rewards/image_accuracies": True,
    "rewards/chosen": True,
    "logps/chosen": True,
}


def rises(name: str) -> bool:
    """Tell whether a metric is better the higher it is; ``eval_`` before its name changes nothing.

    Raises:
        InputError: no such metric can be a goal.
    """
    plain = name.removeprefix("eval_")
    if plain.startswith("loss/"):
        return False
    if plain not in RISES:
        raise InputError(
            f"{name!r} is no metric that weights can be chosen by",
            where="best_metric",
            remedy=did_you_mean(plain, RISES),
        )
    return RISES[plain]


@torch.no_grad()
def batch_metrics(scores: Scores, beta: float) -> dict[str, float]:
    """Return one batch's means: rewards are β·Δ, logps are summed over the response, all in nats.

    Where the objective weighs its pairs, the weights' least, mean and greatest are told too.
    """
    metrics = {LOGPS[cell]: values.mean().item() for cell, values in scores.logps.items()}
    chosen = Cell.CLEAN_CHOSEN
    metrics["nll_loss"] = -(scores.logps[chosen] / scores.lengths[chosen]).mean().item()
    if scores.weight is not None:
        metrics["weights/min"] = scores.weight.min().item()
        metrics["weights/mean"] = scores.weight.mean().item()
        metrics["weights/max"] = scores.weight.max().item()
    if chosen not in scores.reference:
        return metrics
    reward = beta * scores.delta(chosen)
    metrics["rewards/chosen"] = reward.mean().item()
    for cell, (name, margin_name, accuracy_name) in MARGINS.items():
        # Where the rejected response is scored on both images, as in minimal pairs, its reward is that on the
        # clean one: on the other it may be right.
        beside = cell is Cell.REJECTED_REJECTED and Cell.CLEAN_REJECTED in scores.reference
        if cell in scores.reference and not beside:
            other = beta * scores.delta(cell)
            metrics[name] = other.mean().item()
            metrics[margin_name] = (reward - other).mean().item()
            metrics[accuracy_name] = (reward > other).float().mean().item()
    return metrics


class Running(NamedTuple):
    """A value so far, and the number of pairs that it is of."""

    value: float
    pairs: int


def _mean(one: Running, other: Running) -> Running:
    pairs = one.pairs + other.pairs
    return Running((one.value * one.pairs + other.value * other.pairs) / pairs, pairs)


def _least(one: Running, other: Running) -> Running:
    return Running(min(one.value, other.value), one.pairs + other.pairs)


def _greatest(one: Running, other: Running) -> Running:
    return Running(max(one.value, other.value), one.pairs + other.pairs)


def _sum(one: Running, other: Running) -> Running:
    return Running(one.value + other.value, one.pairs + other.pairs)


TOKENS = "tokens"
"""How many tokens of rows were computed: a sum, that is kept with the metrics but logged with none."""
# How two values become one, where that is not by their mean over pairs.
JOIN: Mapping[str, Callable[[Running, Running], Running]] = {
    "weights/min": _least,
    "weights/max": _greatest,
    TOKENS: _sum,
}

Gather = Callable[[dict[str, Running]], Iterable[Mapping[str, Running]]]
"""Returns the values of all processes, in the order of the processes."""


class RunningMeans:
    """Metrics since they were last taken: means over pairs, extremes, and sums."""

    def __init__(self) -> None:
        self._values: dict[str, Running] = {}

    def add(self, metrics: Mapping[str, float], pairs: int) -> None:
        """Add one batch's metrics, which are of `pairs` pairs."""
        self._join({name: Running(value, pairs) for name, value in metrics.items()})

    def _join(self, values: Mapping[str, Running]) -> None:
        for name, value in values.items():
            before = self._values.get(name)
            self._values[name] = JOIN.get(name, _mean)(before, value) if before else value

    def take(self, gather: Gather = lambda values: [values]) -> dict[str, float]:
        """Return the metrics, those of all processes together, and start anew."""
        gathered = list(gather(self._values))
        self._values = {}
        for values in gathered:
            self._join(values)
        taken, self._values = self._values, {}
        return {name: running.value for name, running in taken.items()}
