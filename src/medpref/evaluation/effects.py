"""Effect sizes: how large a paired difference is, beside how sure."""

import math


def cohens_h(first: float, second: float) -> float:
    """Return 2·asin √first - 2·asin √second, for two shares (Cohen 1988, "Power analysis", ch. 6).

    Unlike their difference it counts a point near 0 or 1 as more than one near a half. By Cohen's convention
    0.2 is small, 0.5 medium and 0.8 large.
    """
    return 2 * math.asin(math.sqrt(_share(first))) - 2 * math.asin(math.sqrt(_share(second)))


def _share(value: float) -> float:
    """Return `value` within [0, 1], which a sum's rounding may leave."""
    return min(1.0, max(0.0, value))


def odds_ratio(b: int, c: int) -> float:
    """Return b / c, the conditional odds ratio of matched pairs (Agresti 2013, "Categorical data", 11.1.4).

    Of the samples that one method alone has right, how many times as many are the first one's. NaN without
    any that are the second one's: there is no such number.
    """
    return b / c if c else math.nan


def standardised(difference: float, sd: float) -> float:
    """Return Cohen's d_z: a mean paired difference in units of its standard deviation.

    Args:
        difference: the mean paired difference.
        sd: the standard deviation of the paired differences, here between clusters.

    Returns:
        The effect size; NaN where nothing varies.
    """
    return difference / sd if sd > 0 else math.nan
