"""Holm's correction of a family of tests for their number."""

import math
from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct a family of p values for their number (Holm 1979, Scand. J. Statist. 6:65-70).

    With the m values in ascending order, the i-th becomes max over j ≤ i of min(1, (m - j + 1)·p_j). NaN is
    a test that could not be made: it is none of the m, and stays NaN.
    """
    family = sorted((p, position) for position, p in enumerate(p_values) if not math.isnan(p))
    corrected = [math.nan] * len(p_values)
    highest = 0.0
    for rank, (p, position) in enumerate(family):
        highest = max(highest, min(1.0, (len(family) - rank) * p))
        corrected[position] = highest
    return corrected
