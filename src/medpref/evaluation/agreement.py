"""How far labels agree: between judges, and between a judge and people."""

from collections import Counter
from collections.abc import Hashable, Sequence

Unit = Sequence[Hashable | None]
"""What each rater said of one thing; None where a rater said nothing."""


def cohen_kappa(first: Sequence[Hashable | None], second: Sequence[Hashable | None]) -> float | None:
    """Return Cohen's κ = (p_o − p_e)/(1 − p_e) of two raters. J. Cohen 1960, doi:10.1177/001316446002000104.

    p_o is the share of things with equal labels, p_e = Σ p₁(label)·p₂(label) what chance gives. Things that
    one of the two left out do not count.

    Returns:
        κ, or None where it is not defined: nothing was labelled by both, or both gave one label throughout.

    Raises:
        ValueError: the raters have different numbers of things.
    """
    both = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if not both:
        return None
    n = len(both)
    ours, theirs = Counter(a for a, _ in both), Counter(b for _, b in both)
    # In whole numbers, so that full agreement by chance is found exactly.
    chance = sum(ours[label] * theirs[label] for label in ours)
    if chance == n * n:
        return None
    return (n * sum(a == b for a, b in both) - chance) / (n * n - chance)


def krippendorff_alpha_nominal(units: Sequence[Unit]) -> float | None:
    """Return Krippendorff's α for nominal data: 1 − D_o/D_e, with the coincidences o(c, k) of labels.

    α = 1 − (n − 1)·Σ_{c≠k} o(c, k) / Σ_{c≠k} n(c)·n(k); each unit of m ≥ 2 labels adds its ordered pairs,
    each 1/(m − 1). Units with fewer than two labels do not count. K. Krippendorff, Content Analysis, 2nd ed.,
    2004, sec. 11.3.

    Args:
        units: the labels of each thing, one for each rater.

    Returns:
        α, or None where it is not defined: no unit has two labels, or all labels are equal.
    """
    counted = [[label for label in unit if label is not None] for unit in units]
    counted = [labels for labels in counted if len(labels) > 1]
    totals = Counter(label for labels in counted for label in labels)
    n = totals.total()
    unlike = n * n - sum(count * count for count in totals.values())
    if not unlike:
        return None
    observed = sum(
        (len(labels) ** 2 - sum(count * count for count in Counter(labels).values())) / (len(labels) - 1)
        for labels in counted
    )
    return 1 - (n - 1) * observed / unlike


def label_counts(labels: Sequence[Hashable | None]) -> Counter[Hashable]:
    """Return how often each label was given."""
    return Counter(label for label in labels if label is not None)
