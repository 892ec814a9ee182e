"""Intervals and tests for samples that come in clusters, such as several questions about one image.

Two answers about one image are not two independent observations, so whole clusters are resampled (the cluster
bootstrap: Field & Welsh 2007, "Bootstrapping clustered data", JRSS B 69:369-390) and whole clusters change
signs in the paired test. Everything is computed from sums and counts for each cluster: one matrix product
gives all resamples of all statistics.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

RESAMPLES = 2000
LEVELS = (0.025, 0.975)
# Statistics nearer than this share of their size are equal: sums taken in another order differ as much.
_TIE = 1e-9


class Estimate(NamedTuple):
    """A figure with its 95 % interval, which has no width where all samples are equal.

    Attributes:
        value: the figure, NaN where nothing was scored.
        low: the interval's lower end, NaN where fewer than two clusters were scored.
        high: its upper end.
        n: how many samples were scored.
    """

    value: float
    low: float
    high: float
    n: int


class Difference(NamedTuple):
    """A paired difference, first less second, over the n samples that both have, with its 95 % interval.

    `p_value` is that of the two-sided sign-flip test over clusters, NaN with fewer than two clusters.
    """

    value: float
    low: float
    high: float
    p_value: float
    n: int


class Columns(NamedTuple):
    """Statistics over the same samples, each the mean of its columns' means: balanced accuracy has two.

    Attributes:
        values: one value a sample, NaN where the sample does not count in the column.
        owner: the statistic that each column belongs to, counted from 0 without gaps.
    """

    values: Float[np.ndarray, "samples columns"]
    owner: Int[np.ndarray, "columns"]

    @property
    def share(self) -> Float[np.ndarray, "columns statistics"]:
        """The weight of each column in each statistic."""
        belongs = self.owner[:, None] == np.arange(self.owner.max(initial=-1) + 1)
        return np.asarray(belongs / np.maximum(belongs.sum(axis=0), 1))


def one_column_each(values: Float[np.ndarray, "samples columns"]) -> Columns:
    """Return columns whose means are the statistics."""
    return Columns(values, np.arange(values.shape[1]))


@dataclass(frozen=True, slots=True)
class Draws:
    """Statistics with their resampled values.

    Attributes:
        value: the statistics on the samples as they are, NaN where a column has none.
        resampled: the statistics on each resample, NaN where they cannot be computed.
        n: how many samples count in each statistic.
    """

    value: Float[np.ndarray, "statistics"]
    resampled: Float[np.ndarray, "resamples statistics"]
    n: Int[np.ndarray, "statistics"]

    def estimates(self) -> list[Estimate]:
        """Return each statistic with its percentile interval."""
        low, high = (_quantile(self.resampled, level) for level in LEVELS)
        n = np.where(np.isnan(self.value), 0, self.n)
        return [Estimate(*row) for row in zip(*(x.tolist() for x in (self.value, low, high, n)), strict=True)]


class ClusterBootstrap:
    """The resamples of one set of clusters, drawn once: all statistics of a task share them."""

    def __init__(self, clusters: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0) -> None:
        """Take the cluster of each sample; equal seeds give bit-identical resamples and sign flips."""
        numbers = {name: number for number, name in enumerate(sorted(set(clusters)))}
        codes = np.array([numbers[name] for name in clusters], dtype=np.int64)
        self.count = len(numbers)
        self.resamples = resamples
        self.seed = seed
        self._order = np.argsort(codes, kind="stable")
        self._starts = np.searchsorted(codes[self._order], np.arange(self.count))

    @cached_property
    def weights(self) -> Float[np.ndarray, "resamples clusters"]:
        """How often each resample contains each cluster."""
        return _multinomial(self.count, self.resamples, np.random.default_rng((self.seed, 0)))

    @cached_property
    def signs(self) -> Float[np.ndarray, "flips clusters"]:
        """The signs ±1 of the permutation test: all patterns where they are few, else random ones."""
        if 2**self.count <= self.resamples:
            patterns = np.arange(2**self.count)[:, None] >> np.arange(self.count) & 1
        else:
            rng = np.random.default_rng((self.seed, 1))
            patterns = rng.integers(0, 2, size=(self.resamples, self.count), dtype=np.int8)
        return 1.0 - 2.0 * patterns

    def totals(self, values: Float[np.ndarray, "samples columns"]) -> Float[np.ndarray, "clusters columns"]:
        """Sum `values` within each cluster."""
        if not self.count:
            return np.zeros((0, values.shape[1]))
        return np.asarray(np.add.reduceat(values[self._order], self._starts, axis=0))

    def draw(self, columns: Columns) -> Draws:
        """Compute statistics and their resamples: Σ sums / Σ counts over the clusters drawn, each column."""
        there = ~np.isnan(columns.values)
        totals = self.totals(np.concatenate([np.where(there, columns.values, 0.0), there], axis=1))
        value = _combine(_ratio(*np.split(totals.sum(axis=0), 2)), columns.share)
        # Sums and counts in one product: the weights are large, and read once.
        resampled = _combine(_ratio(*np.split(self.weights @ totals, 2, axis=1)), columns.share)
        resampled[:, self._scored(there, columns.share) < 2] = np.nan
        return Draws(value, resampled, there.sum(axis=0) @ (columns.share > 0))

    def sign_flip(self, differences: Columns) -> Float[np.ndarray, "statistics"]:
        """Return two-sided p values of the hypothesis that swapping the two sides changes nothing.

        Whole clusters are swapped. All patterns of signs are tried where there are no more than `resamples`;
        otherwise p = (1 + patterns at least as extreme) / (1 + patterns), which is never 0 (Phipson & Smyth
        2010, doi:10.2202/1544-6115.1585). NaN with fewer than two clusters.
        """
        there, share = ~np.isnan(differences.values), differences.share
        scaled = _ratio(np.where(there, differences.values, 0.0), there.sum(axis=0, dtype=float))
        parts = self.totals(np.nan_to_num(scaled)) @ share
        observed = np.abs(parts.sum(axis=0))
        size = np.abs(parts).sum(axis=0)
        extreme = (np.abs(self.signs @ parts) >= observed - _TIE * size).sum(axis=0)
        exact = 2**self.count <= self.resamples
        p_values = extreme / len(self.signs) if exact else (1 + extreme) / (1 + len(self.signs))
        return np.where(self._scored(there, share) > 1, p_values, np.nan)

    def _scored(
        self, there: Bool[np.ndarray, "samples columns"], share: Float[np.ndarray, "columns statistics"]
    ) -> Int[np.ndarray, "statistics"]:
        """Count the clusters that each statistic has samples in."""
        return np.asarray((self.totals(there.astype(float)) @ share > 0).sum(axis=0))


def pool(draws: Sequence[Draws], *, seed: int = 0) -> Draws:
    """Pool runs of several seeds on the same samples: seeds are resampled as well as clusters.

    The statistic is the mean over seeds. Seeds and clusters are crossed: a resample has one draw of clusters
    for all its seeds. With two or three seeds the spread between them is underestimated, as by any bootstrap
    of so few; show the seeds' standard deviation beside it.

    All `draws` are of one `ClusterBootstrap`. The n of the result is the smallest that any run has.
    """
    runs = np.stack([run.resampled for run in draws])
    chosen = _multinomial(len(draws), runs.shape[1], np.random.default_rng((seed, 2)))
    resampled = np.einsum("rs,srk->rk", chosen / len(draws), runs)
    value = np.mean([run.value for run in draws], axis=0)
    return Draws(value, resampled, np.min([run.n for run in draws], axis=0))


def mean_interval(
    values: Float[np.ndarray, "*seeds samples"],
    clusters: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the mean of `values` with its 95 % interval over clusters, and over seeds if there are several.

    Args:
        values: a value for each sample, or for each seed and sample; NaN marks an unscored one.
        clusters: the cluster of each sample.
        resamples: how many resamples.
        seed: equal seeds give bit-identical results.
    """
    bootstrap = ClusterBootstrap(clusters, resamples=resamples, seed=seed)
    draws = [bootstrap.draw(one_column_each(run[:, None])) for run in np.atleast_2d(values)]
    return pool(draws, seed=seed).estimates()[0]


def balanced_accuracy_interval(
    correct: Float[np.ndarray, "samples"],
    positive: Bool[np.ndarray, "samples"],
    clusters: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the mean of the accuracies on positive and on negative references, with its 95 % interval.

    `correct` is 1 or 0, NaN where unscored; the figure is NaN where one of the two references does not occur.
    """
    values = np.stack([np.where(positive, correct, np.nan), np.where(positive, np.nan, correct)], axis=1)
    bootstrap = ClusterBootstrap(clusters, resamples=resamples, seed=seed)
    return bootstrap.draw(Columns(values, np.zeros(2, dtype=np.int64))).estimates()[0]


def paired_difference(
    first: Float[np.ndarray, "*seeds samples"],
    second: Float[np.ndarray, "*seeds samples"],
    clusters: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Compare two methods on the same samples: mean of `first` less mean of `second`.

    Arguments as for `mean_interval`; a sample counts where both have a value. The interval is over clusters
    (and seeds, where there are several), the p value over clusters alone: it takes the seeds as given.
    """
    bootstrap = ClusterBootstrap(clusters, resamples=resamples, seed=seed)
    runs = [one_column_each(run[:, None]) for run in np.atleast_2d(first - second)]
    return differences(bootstrap, runs)[0]


def differences(bootstrap: ClusterBootstrap, runs: Sequence[Columns]) -> list[Difference]:
    """Return paired differences from the differences of each sample, one `Columns` for each seed.

    A sample counts where every seed has a value, so that interval and test are about the same samples.
    """
    mean = Columns(np.mean([run.values for run in runs], axis=0), runs[0].owner)
    common = ~np.isnan(mean.values)
    draws = [bootstrap.draw(Columns(np.where(common, run.values, np.nan), run.owner)) for run in runs]
    pooled = pool(draws, seed=bootstrap.seed)
    p_values = bootstrap.sign_flip(mean).tolist()
    return [
        Difference(value, low, high, p_value, n)
        for (value, low, high, n), p_value in zip(pooled.estimates(), p_values, strict=True)
    ]


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


def _multinomial(size: int, draws: int, rng: np.random.Generator) -> Float[np.ndarray, "draws size"]:
    """Draw `size` of `size` things with replacement, `draws` times, and count them."""
    if not size:
        return np.zeros((draws, 0))
    chosen = rng.integers(0, size, size=(draws, size)) + size * np.arange(draws)[:, None]
    return np.bincount(chosen.ravel(), minlength=draws * size).reshape(draws, size).astype(float)


def _ratio(sums: Float[np.ndarray, "..."], counts: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.asarray(sums / np.where(counts > 0, counts, np.nan))


def _combine(
    means: Float[np.ndarray, "*resamples columns"], share: Float[np.ndarray, "columns statistics"]
) -> Float[np.ndarray, "*resamples statistics"]:
    """Average columns into statistics; one NaN makes its statistic NaN, and no other."""
    missing = np.isnan(means)
    result = np.nan_to_num(means) @ share
    return np.where(missing.astype(float) @ share > 0, np.nan, result)


def _quantile(
    values: Float[np.ndarray, "resamples statistics"], level: float
) -> Float[np.ndarray, "statistics"]:
    """Return the linearly interpolated quantile of what is not NaN in each column, NaN where all is."""
    ordered = np.sort(values, axis=0)  # NaN sorts last
    place = level * np.maximum(np.count_nonzero(~np.isnan(values), axis=0) - 1, 0)
    below, above = np.floor(place).astype(np.int64), np.ceil(place).astype(np.int64)
    every = np.arange(values.shape[1])
    low, high = ordered[below, every], ordered[above, every]
    return np.asarray(low + (place - below) * (high - low))
