"""What is known of metrics by their names: which way is better, in what unit, and what they are there for."""

from collections.abc import Mapping
from enum import Enum


class Unit(Enum):
    """What a metric's values are."""

    SHARE = "share in [0, 1]"
    NATS = "nats"
    WORDS = "words"


UNITS: Mapping[str, Unit] = {"likelihood_margin": Unit.NATS, "mean_words": Unit.WORDS}
"""The metrics that are no shares."""

LOWER_IS_BETTER = frozenset({"unparsed", "fact_hall"})
"""The metrics of which less is better."""

LEGACY = "legacy_"
"""How scores begin that are kept for comparison with published tables, and for nothing else."""

PROBE = "probe/"
"""How the names of scores begin that a training log has of the model as it stood at a step."""


def unit(metric: str) -> Unit:
    """Return what a metric's values are: shares, unless it is known otherwise."""
    return UNITS.get(metric, Unit.SHARE)


def is_share(metric: str) -> bool:
    """Tell whether a metric's values are shares, which may be shown in per cent."""
    return unit(metric) is Unit.SHARE


def is_legacy(metric: str) -> bool:
    """Tell whether a metric is for published tables alone."""
    return metric.startswith(LEGACY)


def goodness(metric: str, value: float) -> float:
    """Return a value, or a difference, such that more is better: the negative where less is better."""
    return -value if metric in LOWER_IS_BETTER else value
