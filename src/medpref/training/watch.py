"""A watch over training: what goes wrong is named with its step and its pairs."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from medpref.errors import RunError
from medpref.objectives.base import Scores
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.training.metrics import MARGINS
from medpref.training.settings import TrainingSettings

logger = logging.getLogger(__name__)

MOST_NAMED = 5
"""How many pairs a message names."""

Seen = Mapping[str, Sequence[tuple[int, str]]]
"""For each thing that went wrong, where: steps and pairs' ids."""
GatherSeen = Callable[[Seen], Iterable[Seen]]
"""Returns what all processes saw, in the order of the processes."""


def check_finite(step: int, pairs: Sequence[Pair], losses: Float[Tensor, " pairs"]) -> None:
    """Check that all losses are finite numbers.

    Raises:
        RunError: one is not; the message names the step and the pairs.
    """
    if torch.isfinite(losses).all():
        return
    bad = [pair.id for pair, loss in zip(pairs, losses.tolist(), strict=True) if not math.isfinite(loss)]
    raise RunError(
        f"the loss of {len(bad)} pairs is not a finite number at step {step}",
        where=f"pairs {_some(bad)}",
        remedy="Lower the learning rate, or look at these pairs.",
    )


class Watch:
    """Looks at each batch's scores.

    A policy that collapses and a reward that diverges
    warn, stop or are ignored, as the settings say. Both are measured against the reference, so an objective
    without one has neither.

    Args:
        settings: what to do, and the limits.
    """

    def __init__(self, settings: TrainingSettings) -> None:
        self._settings = settings
        self._seen: dict[str, list[tuple[int, str]]] = {}
        self._told: set[str] = set()
        self._act = {"warn": self._warn, "stop": self._stop}.get(settings.on_collapse)

    def look(self, step: int, pairs: Sequence[Pair], scores: Scores, beta: float) -> None:
        """Look at one batch of one part.

        Args:
            step: the optimizer step that the batch belongs to, from 1.
            pairs: the batch's pairs.
            scores: their scores.
            beta: the reward is β·Δ.

        Raises:
            RunError: what is to stop the run happened.
        """
        if self._act is None:
            return
        for fault, hit in self._faults(scores, beta).items():
            if hit.any():
                self._act(fault, step, [p.id for p, bad in zip(pairs, hit.tolist(), strict=True) if bad])

    @torch.no_grad()
    def _faults(self, scores: Scores, beta: float) -> dict[str, Tensor]:
        """Return which pairs each fault befell."""
        chosen = Cell.CLEAN_CHOSEN
        if chosen not in scores.reference:
            return {}
        delta, nats, limit = scores.delta(chosen), self._settings.collapse_nats, self._settings.reward_limit
        collapsed = delta / scores.lengths[chosen] < -nats
        diverged = torch.zeros_like(collapsed)
        for cell in MARGINS.keys() & scores.reference.keys():
            diverged |= (beta * (delta - scores.delta(cell))).abs() > limit
        return {
            f"the chosen response fell {nats:g} nats a token below the reference": collapsed,
            f"the reward margin is beyond {limit:g} nats": diverged,
        }

    def _warn(self, fault: str, step: int, ids: Sequence[str]) -> None:
        self._seen.setdefault(fault, []).extend((step, ident) for ident in ids)
        if fault not in self._told:
            self._told.add(fault)
            logger.warning("step %d: %s (pairs %s)", step, fault, _some(ids))

    def _stop(self, fault: str, step: int, ids: Sequence[str]) -> None:
        raise RunError(
            f"{fault} at step {step}",
            where=f"pairs {_some(ids)}",
            remedy="Lower the learning rate or raise beta, or set on_collapse to warn.",
        )

    def take(self, gather: GatherSeen = lambda seen: [seen]) -> str | None:
        """Return what went wrong since the last call, in all processes together; None if nothing did."""
        found: dict[str, list[tuple[int, str]]] = {}
        for seen in gather(self._seen):
            for fault, where in seen.items():
                found.setdefault(fault, []).extend(where)
        self._seen = {}
        lines = []
        for fault, where in sorted(found.items()):
            ids = list(dict.fromkeys(ident for _, ident in sorted(where)))
            lines.append(f"{fault}, first at step {min(where)[0]} (pairs {_some(ids)})")
        return "; ".join(lines) or None


def _some(ids: Sequence[str]) -> str:
    """Name the first few pairs and count the others."""
    more = len(ids) - MOST_NAMED
    return ", ".join(ids[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
