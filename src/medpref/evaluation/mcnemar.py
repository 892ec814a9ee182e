"""McNemar's test for two methods whose answers are right or wrong, as it is and for clusters of samples.

The exact test (McNemar 1947, doi:10.1007/BF02295996) takes every sample for an observation of its own, which
several questions about one image are not. Obuchowski's version (1998, "On the comparison of correlated
proportions for clustered data", Stat. Med. 17:1495-1507, in the short form of Yang, Sun & Hardin 2010,
doi:10.1002/bimj.201000035) takes the variance between clusters instead; with one sample in each of K clusters
it is McNemar's statistic times (K - 1)/K.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats


class McNemar(NamedTuple):
    """The discordant samples of two methods, and the two-sided tests of their balance.

    Attributes:
        b: samples that the first method alone has right.
        c: samples that the second method alone has right.
        p_exact: p value of the exact binomial test, 1 without any discordant sample.
        p_clustered: p value of Obuchowski's test, NaN with fewer than two clusters.
    """

    b: int
    c: int
    p_exact: float
    p_clustered: float


def exact(b: int, c: int) -> float:
    """Return the two-sided p value of `b` of b + c discordant samples under Binomial(b + c, ½)."""
    return float(min(1.0, 2 * stats.binom.cdf(min(b, c), b + c, 0.5))) if b + c else 1.0


def clustered(surplus: Float[np.ndarray, "clusters"] | Int[np.ndarray, "clusters"]) -> float:
    """Return Obuchowski's two-sided p value: χ² with one degree of freedom of (K-1)/K·(Σ s_k)²/Σ s_k².

    Args:
        surplus: b_k - c_k of each of the K clusters that have samples, also where it is 0.

    Returns:
        The p value: 1 where nothing is discordant, NaN with fewer than two clusters.
    """
    count = len(surplus)
    if count < 2:
        return math.nan
    squares = float((np.asarray(surplus, dtype=float) ** 2).sum())
    if squares == 0:
        return 1.0
    return float(stats.chi2.sf((count - 1) / count * float(surplus.sum()) ** 2 / squares, 1))


def mcnemar(
    first: Float[np.ndarray, "samples"],
    second: Float[np.ndarray, "samples"],
    clusters: Int[np.ndarray, "samples"],
) -> McNemar:
    """Compare two methods over the samples that both have.

    Args:
        first: 1 for a right answer, 0 for a wrong one, NaN for none.
        second: the other method's, in the same order.
        clusters: the number of each sample's cluster.
    """
    both = ~np.isnan(first + second)
    difference = (first - second)[both]
    b, c = int((difference > 0).sum()), int((difference < 0).sum())
    _, codes = np.unique(clusters[both], return_inverse=True)
    return McNemar(b, c, exact(b, c), clustered(np.bincount(codes, weights=difference)))
