"""Power: the smallest difference that a test set could show, and the images that a given one would need.

A two-sided t test at level α finds a true difference δ with the given power where
δ = (t[1 - α/2] + t[power])·standard error (Bloom 1995, "Minimum detectable effects", Evaluation Review
19:547-556; with normal quantiles the textbook formula). The standard error is the observed one, so both are
estimates themselves; neither looks at the difference that was observed.
"""

import math

from scipy import stats

ALPHA = 0.05
POWER = 0.8
_MOST_IMAGES = 10_000_000


def detectable_difference(error: float, df: float, *, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the smallest difference that a test of this standard error finds with the given power.

    NaN where the standard error is unknown, or 0 because nothing differed: that says nothing of the next
    difference.
    """
    if not (error > 0 and df > 0):
        return math.nan
    return float((stats.t.ppf(1 - alpha / 2, df) + stats.t.ppf(power, df)) * error)


def images_needed(
    difference: float,
    sd_images: float,
    *,
    sd_seeds: float = 0.0,
    seeds: int = 1,
    alpha: float = ALPHA,
    power: float = POWER,
) -> int | None:
    """Return how many images it takes to find a difference with the given power.

    The images are clusters of the same make-up as those that were asked: as many questions each. More images
    do not lessen the noise between seeds.

    Args:
        difference: the difference to be found, not 0.
        sd_images: the standard deviation of paired differences between images.
        sd_seeds: that between seeds; 0 asks about these very runs.
        seeds: how many seeds are run.
        alpha: the level of the two-sided test.
        power: the probability of finding the difference.

    Returns:
        The smallest number from 2, or None where no number would do.
    """
    variance_seeds = sd_seeds**2 / seeds

    def found(images: int) -> bool:
        variance_images = sd_images**2 / images
        error = math.sqrt(variance_images + variance_seeds)
        parts = variance_images**2 / (images - 1)
        if variance_seeds and seeds > 1:
            parts += variance_seeds**2 / (seeds - 1)
        df = (variance_images + variance_seeds) ** 2 / parts if parts else images - 1.0
        return error == 0 or detectable_difference(error, df, alpha=alpha, power=power) <= abs(difference)

    if math.isnan(sd_images + sd_seeds) or difference == 0:
        return None
    high = 2
    while not found(high):
        high *= 2
        if high > _MOST_IMAGES:
            return None
    low = max(2, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle + 1, high)
    return low
