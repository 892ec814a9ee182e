"""Time optimizer steps of several variants side by side, and check that they compute the same."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from benchmarks.bench import Bench, Variant

# In nats; of losses above one nat, such as mDPO's sum of three terms, as a share of the loss. Log-probs of 80
# tokens sum up to some 500 nats, where neighbouring fp32 numbers are 3e-5 apart; β makes 3e-6 of that.
LOSS_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4


class Agreement(NamedTuple):
    """How a variant's loss and gradient compare with the first variant's.

    Attributes:
        loss: of the first batch, in nats.
        loss_difference: from the first variant's, in nats; the largest of all batches.
        gradient_norm: of the first batch.
        gradient_difference: norm of the difference, as a share of the first variant's norm.
    """

    loss: float
    loss_difference: float
    gradient_norm: float
    gradient_difference: float

    @property
    def agrees(self) -> bool:
        """Whether the variant computes what the first one does; if not, its time says nothing."""
        close = self.loss_difference <= LOSS_TOLERANCE * max(1.0, self.loss)
        return close and self.gradient_difference <= GRADIENT_TOLERANCE


class Timing(NamedTuple):
    """Seconds of whole optimizer steps.

    Attributes:
        seconds: median.
        least: of all repeats.
        most: of all repeats.
        speedup: the first variant's seconds divided by this one's within each repeat, median.
    """

    seconds: float
    least: float
    most: float
    speedup: float


def compare(variants: Sequence[Variant], batches: int) -> list[Agreement]:
    """Hold each variant's loss and gradient against the first one's, on the same weights and batches."""
    base: torch.Tensor | None = None
    losses: list[list[float]] = []
    found: list[Agreement] = []
    for variant in variants:
        with torch.no_grad():
            rest = [float(variant.loss(number)) for number in range(1, batches)]
        loss = variant.loss(0)
        gradient = variant.trained.gradient(loss)
        losses.append([float(loss.detach()), *rest])
        base = gradient if base is None else base
        found.append(
            Agreement(
                losses[-1][0],
                max(abs(mine - first) for mine, first in zip(losses[-1], losses[0], strict=True)),
                float(gradient.norm()),
                float((gradient - base).norm() / base.norm()),
            )
        )
    return found


def time_steps(
    bench: Bench, variants: Sequence[Variant], *, repeats: int, report: Callable[[str], None]
) -> list[Timing]:
    """Time one optimizer step after the other, A B C, B C A, …, so that all see the same machine.

    Args:
        bench: whose batches are gone through in turn.
        variants: what is timed; one untimed step of each goes first.
        repeats: steps of each variant.
        report: called with a line for each repeat.
    """
    for variant in variants:
        variant.trained.step(variant.loss(0))
    seconds: list[list[float]] = [[] for _ in variants]
    for repeat in range(repeats):
        first = repeat % len(variants)
        for place in [*range(first, len(variants)), *range(first)]:
            seconds[place].append(time_step(bench, variants[place], repeat % len(bench.batches)))
        report(f"repeat {repeat + 1} of {repeats}: " + ", ".join(f"{mine[-1]:.2f}" for mine in seconds))
    return [
        Timing(
            statistics.median(mine),
            min(mine),
            max(mine),
            statistics.median(first / own for first, own in zip(seconds[0], mine, strict=True)),
        )
        for mine in seconds
    ]


def time_step(bench: Bench, variant: Variant, number: int) -> float:
    """Return the seconds that one optimizer step on one batch takes."""
    _wait(bench)
    start = time.perf_counter()
    variant.trained.step(variant.loss(number))
    _wait(bench)
    return time.perf_counter() - start


def _wait(bench: Bench) -> None:
    if bench.device.type == "cuda":
        torch.cuda.synchronize()
