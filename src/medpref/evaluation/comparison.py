"""Everything about a paired difference: interval, tests, effect sizes, and what could have been detected."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from medpref.evaluation import effects
from medpref.evaluation.alignment import AlignedTask, Run, Seeds, Spec, paired
from medpref.evaluation.columns import Columns, side_by_side
from medpref.evaluation.intervals import Difference, differences
from medpref.evaluation.mcnemar import clustered, exact
from medpref.evaluation.power import detectable_difference
from medpref.evaluation.seeds import Spread, spread

ALL_SEEDS = "all"
NAN = float("nan")

Seed = int | str
Figures = dict[str, Any]


class _Side(NamedTuple):
    """The columns of both sides and their differences, one `Columns` a seed, for one group of seeds."""

    first: list[Columns]
    second: list[Columns]
    differences: list[Columns]


def compare(
    task: AlignedTask, first: Seeds, second: Seeds, specs: Sequence[Spec]
) -> Iterator[tuple[Seed, Spec, Figures]]:
    """Yield the figures of every paired difference, `first` less `second`: for each seed, and for all.

    References are those of `first`. Statistics without a common sample are left out. The sign-flip test makes
    do with the first flips; `all_pairs` tells small p values apart.
    """
    groups = _groups(task, list(paired(first, second)), specs)
    single = [side for seed, side in groups.items() if seed != ALL_SEEDS]
    # Single seeds are so many more statistics; the pool has several runs of each.
    blocks = [[side_by_side([side.differences[0] for side in single])] if specs and single else []]
    blocks += [groups[ALL_SEEDS].differences] if ALL_SEEDS in groups else []
    places = product(groups.items(), enumerate(specs))
    figures = (row for runs in blocks if runs for row in _paired_figures(task, runs))
    for ((seed, side), (number, spec)), row in zip(places, figures, strict=True):
        if row["n"]:
            yield seed, spec, {**row, **_binary(task, side, number)}


def _paired_figures(task: AlignedTask, runs: Sequence[Columns]) -> Iterator[Figures]:
    """Yield the figures of each statistic that hold for any metric."""
    found = differences(task.bootstrap, runs, more=0)
    parts = spread(task.bootstrap, runs)
    low, high = parts.intervals()
    t_tests = parts.p_values()
    pooled = len(runs) > 1
    for number, one in enumerate(found):
        ends = (float(low[number]), float(high[number])) if pooled else (one.low, one.high)
        yield {
            **_interval(one, ends, pooled=pooled),
            "p_value": one.p_value,
            "p_seeds": float(t_tests[number]) if pooled else NAN,
            **_variance(parts, number),
        }


def _groups(
    task: AlignedTask, pairs: Sequence[tuple[int, Run, Run]], specs: Sequence[Spec]
) -> dict[Seed, _Side]:
    found: dict[Seed, _Side] = {}
    for seed, one, two in pairs:
        # The first side's references decide for both, or a condition that turns them round would not pair.
        first = task.columns(one.scores, specs, one.golds)
        second = task.columns(two.scores, specs, one.golds)
        found[seed] = _Side([first], [second], [Columns(first.values - second.values, first.owner)])
    if len(found) > 1:
        sides = list(found.values())
        found[ALL_SEEDS] = _Side(*([run for (run,) in part] for part in zip(*sides, strict=True)))
    return found


def _interval(found: Difference, ends: tuple[float, float], *, pooled: bool) -> Figures:
    figures = {"difference": found.value, "ci_low": ends[0], "ci_high": ends[1], "n": found.n}
    return figures | ({"boot_low": found.low, "boot_high": found.high} if pooled else {})


def _variance(parts: Spread, number: int) -> Figures:
    error, df, sd = (float(x[number]) for x in (parts.error, parts.df, parts.sd_images))
    return {
        "seeds": parts.seeds,
        "images": int(parts.clusters[number]),
        "sd_images": sd,
        "sd_seeds": float(parts.sd_seeds[number]),
        "df": df,
        "detectable": detectable_difference(error, df),
        "d_z": effects.standardised(float(parts.value[number]), sd),
    }


def _binary(task: AlignedTask, side: _Side, number: int) -> Figures:
    """Return what only right-or-wrong metrics have: McNemar's tests and the effect sizes of shares."""
    nothing = dict.fromkeys(("p_mcnemar", "p_mcnemar_clustered", "cohens_h", "odds_ratio"), NAN)
    [*own] = np.flatnonzero(side.differences[0].owner == number)
    if len(own) != 1:
        return {"b": None, "c": None, **nothing}
    first, second = (np.stack([run.values[:, own[0]] for run in runs]) for runs in (side.first, side.second))
    common = ~np.isnan(first + second).any(axis=0)
    if not (_is_binary(first[:, common]) and _is_binary(second[:, common])):
        return {"b": None, "c": None, **nothing}
    surplus = np.where(common, first - second, 0.0)
    b, c = int((surplus > 0).sum()), int((surplus < 0).sum())
    by_cluster = task.bootstrap.totals(np.stack([surplus.sum(axis=0), common], axis=1))
    return {
        "b": b,
        "c": c,
        # The answers of several seeds to one sample are no independent observations.
        "p_mcnemar": exact(b, c) if len(first) == 1 else NAN,
        "p_mcnemar_clustered": clustered(by_cluster[by_cluster[:, 1] > 0, 0]),
        "cohens_h": effects.cohens_h(float(first[:, common].mean()), float(second[:, common].mean())),
        "odds_ratio": effects.odds_ratio(b, c),
    }


def _is_binary(values: Float[np.ndarray, "seeds samples"]) -> bool:
    right_or_wrong: Bool[np.ndarray, "seeds samples"] = (values == 0) | (values == 1)
    return bool(right_or_wrong.all())


class PairTest(NamedTuple):
    """Two methods by one figure, first less second, all seeds pooled.

    Attributes:
        difference: the mean paired difference.
        p_value: of the sign-flip test over clusters.
        p_seeds: of the t test with seeds as a random effect, NaN for one seed.
        n: the samples that both have.
    """

    difference: float
    p_value: float
    p_seeds: float
    n: int


def all_pairs(
    task: AlignedTask, methods: Sequence[Seeds], specs: Sequence[Spec]
) -> dict[tuple[int, int], list[PairTest]]:
    """Test every two methods by every figure, all seeds pooled.

    Returns:
        One test a figure for each pair of places in `methods`; pairs without a common seed are left out.
    """
    found = {}
    pairs = {(i, j): list(paired(methods[i], methods[j])) for j in range(len(methods)) for i in range(j)}
    groups: dict[int, list[tuple[tuple[int, int], list[Columns]]]] = {}
    for place, runs in pairs.items():
        columns = [_difference(task, one, two, specs) for _, one, two in runs]
        groups.setdefault(len(columns), []).append((place, columns))
    for seeds, members in sorted(groups.items()):
        if seeds:
            joined = [side_by_side([columns[seed] for _, columns in members]) for seed in range(seeds)]
            tests = _tests(task, joined)
            for number, (place, _) in enumerate(members):
                found[place] = tests[number * len(specs) : (number + 1) * len(specs)]
    return found


def _difference(task: AlignedTask, one: Run, two: Run, specs: Sequence[Spec]) -> Columns:
    first, second = (task.columns(run.scores, specs, one.golds) for run in (one, two))
    return Columns(first.values - second.values, first.owner)


def _tests(task: AlignedTask, runs: Sequence[Columns]) -> list[PairTest]:
    mean = Columns(np.mean([run.values for run in runs], axis=0), runs[0].owner)
    parts = spread(task.bootstrap, runs)
    p_values = task.bootstrap.sign_flip(mean)
    p_seeds = parts.p_values() if len(runs) > 1 else np.full(len(p_values), np.nan)
    n = (~np.isnan(mean.values)).sum(axis=0) @ (mean.share > 0)
    columns = (column.tolist() for column in (parts.value, p_values, p_seeds, n))
    return [PairTest(*row) for row in zip(*columns, strict=True)]
