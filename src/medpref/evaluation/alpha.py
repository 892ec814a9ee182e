"""Krippendorff's α with an interval over clusters, for labels without or with an order.

α = 1 − D_o/D_e, with the coincidences o(c, k) of labels, their sums n(c), and n in all::

    D_o = Σ o(c, k)·δ²(c, k) / n,     D_e = Σ n(c)·n(k)·δ²(c, k) / (n·(n − 1))

A unit of m ≥ 2 labels adds its ordered pairs to o, each 1/(m − 1). Nominal: δ is 1 between unlike labels.
Ordinal: δ(c, k) = n(c)/2 + Σ n(g between) + n(k)/2. K. Krippendorff, Content Analysis, 2nd ed., 2004, ch. 11.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float

from medpref.evaluation.agreement import Unit
from medpref.evaluation.intervals import LEVELS, ClusterBootstrap, Estimate

Coincidences = Float[np.ndarray, "*draws labels labels"]


def alpha_interval(
    units: Sequence[Unit],
    clusters: Sequence[str],
    labels: Sequence[Hashable],
    *,
    ordered: bool = False,
    seed: int = 0,
) -> Estimate:
    """Return α with the 95 % percentile interval of a bootstrap over clusters.

    Args:
        units: the labels of each thing, one for each rater, None where a rater said nothing.
        clusters: the cluster of each thing, such as its image.
        labels: all labels; from least to most where they are `ordered`.
        ordered: whether labels farther apart disagree more.
        seed: equal seeds give bit-identical intervals.

    Returns:
        α, NaN where it is not defined: no unit has two labels, or all labels are equal; n are the units with
        two labels or more. The interval leaves out resamples without an α; fewer than two clusters have none.

    Raises:
        ValueError: a label is not one of `labels`.
    """
    each = np.array([coincidences(unit, labels).ravel() for unit in units]).reshape(
        len(units), len(labels) ** 2
    )
    whole = each.sum(axis=0).reshape(len(labels), len(labels))
    value = float(alpha(whole, ordered=ordered))
    counted = each.sum(axis=1) > 0
    if len({cluster for cluster, there in zip(clusters, counted, strict=True) if there}) < 2 or np.isnan(
        value
    ):
        return Estimate(value, np.nan, np.nan, int(counted.sum()))
    bootstrap = ClusterBootstrap(clusters, seed=seed)
    drawn = (bootstrap.weights @ bootstrap.totals(each)).reshape(-1, len(labels), len(labels))
    low, high = np.nanquantile(alpha(drawn, ordered=ordered), LEVELS)
    return Estimate(value, float(low), float(high), int(counted.sum()))


def coincidences(unit: Unit, labels: Sequence[Hashable]) -> Float[np.ndarray, "labels labels"]:
    """Return what one unit adds to the coincidences: nothing where it has fewer than two labels."""
    counts = np.zeros(len(labels))
    for label in unit:
        if label is not None:
            counts[labels.index(label)] += 1
    if counts.sum() < 2:
        return np.zeros((len(labels), len(labels)))
    return np.asarray((np.outer(counts, counts) - np.diag(counts)) / (counts.sum() - 1))


def alpha(found: Coincidences, *, ordered: bool = False) -> Float[np.ndarray, "*draws"]:
    """Return α of coincidence matrices, NaN where all labels are equal or there are none."""
    sums = found.sum(axis=-1)
    n = sums.sum(axis=-1)
    if ordered:
        ranks = np.cumsum(sums, axis=-1) - sums / 2
        distance = (ranks[..., :, None] - ranks[..., None, :]) ** 2
    else:
        distance = 1 - np.eye(found.shape[-1])
    observed = (found * distance).sum(axis=(-2, -1))
    expected = (sums[..., :, None] * sums[..., None, :] * distance).sum(axis=(-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(expected > 0, 1 - (n - 1) * observed / expected, np.nan))
