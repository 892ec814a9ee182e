"""How far judges agree."""

from itertools import combinations

import numpy as np
from jaxtyping import Float

Scores = Float[np.ndarray, "judges pairs"]


def krippendorff_alpha(scores: Scores) -> float | None:
    """Return Krippendorff's α for interval data: 1 − observed by expected disagreement.

    1 is full agreement, 0 what chance gives, below 0 worse than that. Pairs with fewer than two scores do
    not count. K. Krippendorff, Content Analysis, 2nd ed., 2004, sec. 11.3.

    Args:
        scores: NaN where a judge gave none.

    Returns:
        α, or None where it is not defined: no pair has two scores, or all scores are equal.
    """
    units = [column[~np.isnan(column)] for column in scores.T]
    units = [unit for unit in units if len(unit) > 1]
    if not units:
        return None
    values = np.concatenate(units)
    # Over all ordered pairs of n values Σ (a − b)² = 2 n² var.
    within = sum(2 * len(unit) ** 2 * unit.var() / (len(unit) - 1) for unit in units)
    observed = within / len(values)
    expected = 2 * len(values) * values.var() / (len(values) - 1)
    # Equal scores have a variance of rounding errors, not of zero.
    return float(1 - observed / expected) if np.ptp(values) > 0 else None


def mean_difference(scores: Scores) -> float | None:
    """Return the mean absolute difference of two judges' scores of one pair; NaN is no score.

    Returns:
        The mean over all pairs and all two judges of each, or None where no pair has two scores.
    """
    differences = np.concatenate([np.abs(a - b) for a, b in combinations(scores, 2)] or [np.empty(0)])
    known = differences[~np.isnan(differences)]
    return float(known.mean()) if len(known) else None
