"""Intervals and tests for samples that come in clusters, such as several questions about one image.

Two answers about one image are not two independent observations, so whole clusters are resampled (the cluster
bootstrap: Field & Welsh 2007, "Bootstrapping clustered data", JRSS B 69:369-390) and whole clusters change
signs in the paired test. Everything is computed from sums and counts for each cluster: one matrix product
gives all resamples of all statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from medpref.evaluation.columns import Columns as Columns
from medpref.evaluation.columns import one_column_each as one_column_each
from medpref.evaluation.columns import side_by_side

RESAMPLES = 2000
MORE_FLIPS = 100_000
# Tests with fewer patterns as extreme than this among the first flips go on to more.
_FEW = 20
_CHUNK = 5000
# Singular values below this share of the largest are zero.
_SMALL = 1e-13
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

    def split(self, parts: int) -> list["Draws"]:
        """Return the draws of equally many statistics that lay side by side."""
        blocks = (np.split(x, parts, axis=-1) for x in (self.value, self.resampled, self.n))
        return [Draws(*block) for block in zip(*blocks, strict=True)]

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
        self._last: tuple[np.ndarray, np.ndarray] | None = None
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
        value = _combine(_ratio(*np.split(totals.sum(axis=0), 2)), columns.owner)
        sums, counts = np.split(totals, 2, axis=1)
        resampled = _combine(_ratio(self.weights @ sums, self._counts(counts)), columns.owner)
        resampled[:, _scored(counts, columns.share) < 2] = np.nan
        return Draws(value, resampled, there.sum(axis=0) @ (columns.share > 0))

    def _counts(
        self, counts: Float[np.ndarray, "clusters columns"]
    ) -> Float[np.ndarray, "resamples columns"]:
        """Return each resample's counts; the runs of a task mostly have the same, one after another."""
        if self._last is None or not np.array_equal(self._last[0], counts):
            self._last = counts, self.weights @ counts
        return self._last[1]

    def sign_flip(self, differences: Columns, *, more: int = MORE_FLIPS) -> Float[np.ndarray, "statistics"]:
        """Return two-sided p values of the hypothesis that swapping the two sides changes nothing.

        Whole clusters are swapped. All patterns of signs are tried where there are no more than `resamples`;
        otherwise p = (1 + patterns at least as extreme) / (1 + patterns), which is never 0 (Phipson & Smyth
        2010, doi:10.2202/1544-6115.1585). Where fewer than 20 random patterns are as extreme, `more` are
        tried as well: a correction for hundreds of tests needs p values far below 1 / `resamples`, and
        stopping where p is surely large keeps the test valid (Besag & Clifford 1991, Biometrika 78:301-304).
        NaN with fewer than two clusters.
        """
        there, share = ~np.isnan(differences.values), differences.share
        sums, counts = np.split(
            self.totals(np.concatenate([np.where(there, differences.values, 0.0), there], axis=1)), 2, axis=1
        )
        parts = np.nan_to_num(_ratio(sums, counts.sum(axis=0))) @ share
        least = np.abs(parts.sum(axis=0)) - _TIE * np.abs(parts).sum(axis=0)
        extreme = (np.abs(self.signs @ parts) >= least).sum(axis=0)
        if 2**self.count <= self.resamples:
            p_values = extreme / len(self.signs)
        else:
            p_values = (1 + extreme) / (1 + len(self.signs))
            rare = (extreme < _FEW) & (least > 0) & (more > 0)
            beyond = extreme[rare] + self._more_extreme(parts[:, rare], least[rare], more)
            p_values[rare] = (1 + beyond) / (1 + len(self.signs) + more)
        return np.where(_scored(counts, share) > 1, p_values, np.nan)

    def _more_extreme(
        self,
        parts: Float[np.ndarray, "clusters statistics"],
        least: Float[np.ndarray, "statistics"],
        flips: int,
    ) -> Int[np.ndarray, "statistics"]:
        """Count the patterns of `flips` random ones that reach `least`."""
        found = np.zeros(len(least), dtype=np.int64)
        if not len(least):
            return found
        # All pairs of some methods have far fewer dimensions than there are pairs.
        left, sizes, right = np.linalg.svd(parts, full_matrices=False)
        rank = int((sizes > _SMALL * sizes[:1].sum()).sum())
        left, right = left[:, :rank] * sizes[:rank], right[:rank]
        whole = parts.sum(axis=0)
        rng = np.random.default_rng((self.seed, 3))
        for start in range(0, flips, _CHUNK):
            bits = np.frombuffer(rng.bytes(_CHUNK * -(-len(parts) // 8)), dtype=np.uint8)
            signs = np.unpackbits(bits.reshape(_CHUNK, -1), axis=1)[: flips - start, : len(parts)]
            # With bits instead of signs: Σ (1 - 2·bit)·part.
            sums = whole - 2.0 * (signs.astype(float) @ left) @ right
            found += (np.abs(sums) >= least).sum(axis=0)
        return found


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


def differences(
    bootstrap: ClusterBootstrap, runs: Sequence[Columns], *, more: int = MORE_FLIPS
) -> list[Difference]:
    """Return paired differences from the differences of each sample, one `Columns` for each seed.

    A sample counts where every seed has a value, so that interval and test are about the same samples. `more`
    is as for `ClusterBootstrap.sign_flip`.
    """
    mean = Columns(np.mean([run.values for run in runs], axis=0), runs[0].owner)
    common = ~np.isnan(mean.values)
    draws = bootstrap.draw(side_by_side([Columns(np.where(common, r.values, np.nan), r.owner) for r in runs]))
    pooled = pool(draws.split(len(runs)), seed=bootstrap.seed)
    p_values = bootstrap.sign_flip(mean, more=more).tolist()
    return [
        Difference(value, low, high, p_value, n)
        for (value, low, high, n), p_value in zip(pooled.estimates(), p_values, strict=True)
    ]


def _scored(
    counts: Float[np.ndarray, "clusters columns"], share: Float[np.ndarray, "columns statistics"]
) -> Int[np.ndarray, "statistics"]:
    """Count the clusters that each statistic has samples in."""
    return np.asarray((counts @ share > 0).sum(axis=0))


def _multinomial(size: int, draws: int, rng: np.random.Generator) -> Float[np.ndarray, "draws size"]:
    """Draw `size` of `size` things with replacement, `draws` times, and count them."""
    if not size:
        return np.zeros((draws, 0))
    chosen = rng.integers(0, size, size=(draws, size)) + size * np.arange(draws)[:, None]
    return np.bincount(chosen.ravel(), minlength=draws * size).reshape(draws, size).astype(float)


def _ratio(sums: Float[np.ndarray, "..."], counts: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.asarray(sums / np.where(counts > 0, counts, np.nan))


def _combine(
    means: Float[np.ndarray, "*resamples columns"], owner: Int[np.ndarray, "columns"]
) -> Float[np.ndarray, "*resamples statistics"]:
    """Average columns into statistics; one NaN makes its statistic NaN, and no other."""
    starts, counts = np.unique(owner, return_index=True, return_counts=True)[1:]
    if len(starts) == len(owner):
        return means
    return np.asarray(np.add.reduceat(means, starts, axis=-1) / counts)


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
