"""Seeds as a random effect: how sure a difference is that is pooled over several training runs.

Runs of several seeds answer the same samples: seeds and clusters of samples are crossed, and both are draws
from a larger population. Of each statistic we take the linearised contribution z[s, k] of each seed and
cluster, z[s, k] = C·Σ_col w_col·(T[s, k, col] - n[k, col]·θ_col)/n[col], whose means over clusters are the
seeds' values less the overall one, and split its variance as a two-way layout without replication::

    z[s, k] = a_s + b_k + e_sk,     MS_a, MS_b, MS_e the mean squares
    Var(mean) = MS_b / (S·C) + max(0, MS_a - MS_e) / (S·C)

The layout is balanced, so this is the REML estimate of a linear mixed model with crossed random effects
(Searle, Casella & McCulloch 1992, "Variance components", 4.7), without its iterations. Degrees of freedom
follow Satterthwaite (1946, Biometrics Bulletin 2:110-114).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from medpref.evaluation.columns import Columns
from medpref.evaluation.intervals import ClusterBootstrap

LEVEL = 0.95
Figures = Float[np.ndarray, "statistics"]


@dataclass(frozen=True, slots=True)
class Spread:
    """Statistics with the two parts of their variance: `error`² = `sd_images`²/clusters + `sd_seeds`²/seeds.

    Attributes:
        value: the statistics, NaN where nothing was scored.
        error: their standard errors, NaN with fewer than two clusters.
        df: Satterthwaite's degrees of freedom.
        clusters: the clusters with samples.
        seeds: the runs.
        sd_images: the standard deviation between clusters of the contribution averaged over seeds.
        sd_seeds: the standard deviation between seeds beside the clusters' noise; NaN for one seed, which
            tells nothing of it.
    """

    value: Figures
    error: Figures
    df: Figures
    clusters: Int[np.ndarray, "statistics"]
    seeds: int
    sd_images: Figures
    sd_seeds: Figures

    def intervals(self) -> tuple[Figures, Figures]:
        """Return the ends of the 95 % t intervals."""
        half = stats.t.ppf(0.5 + LEVEL / 2, self.df) * self.error
        return self.value - half, self.value + half

    def p_values(self) -> Figures:
        """Return two-sided p values of t tests against 0; where nothing varies, 1 for 0 and else 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(self.value == 0, 0.0, np.abs(self.value) / self.error)
        p_values = np.asarray(2 * stats.t.sf(t, self.df))
        return np.where(np.isnan(self.error), np.nan, p_values)


def spread(bootstrap: ClusterBootstrap, runs: Sequence[Columns]) -> Spread:
    """Split the variance of statistics over the runs of one or several seeds.

    Args:
        bootstrap: the clusters of the samples.
        runs: one for each seed; a sample counts where every one has a value.
    """
    seeds, owner = len(runs), runs[0].owner
    values = np.stack([run.values for run in runs])  # seeds, samples, columns
    there = ~np.isnan(values).any(axis=0)
    counts = there.sum(axis=0)
    known = np.where(there, values, 0.0)
    with np.errstate(invalid="ignore"):
        theta = known.mean(axis=0).sum(axis=0) / np.where(counts > 0, counts, np.nan)
    share = Columns(there.astype(float), owner).share
    scaled = np.where(there, known - np.nan_to_num(theta), 0.0) / np.maximum(counts, 1)
    z = np.stack([bootstrap.totals(run) @ share for run in scaled])  # seeds, clusters, statistics
    present = bootstrap.totals(there.astype(float)) @ share > 0
    clusters = present.sum(axis=0)
    scored = (np.isnan(theta).astype(float) @ share == 0) & (clusters > 0)
    value = np.where(scored, np.nan_to_num(theta) @ share, np.nan)
    return _split(z * clusters, present, value, seeds)


def _split(
    z: Float[np.ndarray, "seeds clusters statistics"],
    present: Float[np.ndarray, "clusters statistics"],
    value: Figures,
    seeds: int,
) -> Spread:
    clusters = present.sum(axis=0)
    enough = (clusters > 1) & ~np.isnan(value)
    below = np.where(enough, clusters - 1, np.nan)
    by_cluster = z.mean(axis=0)
    sd_images = np.sqrt((by_cluster**2).sum(axis=0) / below)
    if seeds == 1:
        error = sd_images / np.sqrt(np.maximum(clusters, 1))
        return Spread(value, error, below, clusters, 1, sd_images, np.full(len(value), np.nan))
    by_seed = z.sum(axis=1) / np.maximum(clusters, 1)
    rest = np.where(present, z - by_seed[:, None] - by_cluster, 0.0)
    size = seeds * np.maximum(clusters, 1)
    # Each mean square as a share of the variance of the overall mean.
    images = sd_images**2 / np.maximum(clusters, 1)
    seed = (by_seed**2).sum(axis=0) / (seeds - 1) / seeds
    noise = (rest**2).sum(axis=(0, 1)) / (seeds - 1) / below / size
    varies = seed > noise
    variance = images + np.where(varies, seed - noise, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = images**2 / below + seed**2 / (seeds - 1) + noise**2 / ((seeds - 1) * below)
        df = np.where(varies, np.maximum(variance**2 / parts, 1.0), below)
    sd_seeds = np.sqrt(np.where(varies, seed - noise, 0.0) * seeds)
    return Spread(
        value, np.sqrt(variance), df, clusters, seeds, sd_images, np.where(enough, sd_seeds, np.nan)
    )
