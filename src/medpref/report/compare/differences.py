"""The same method, task and metric in two studies: paired where both asked the same, otherwise not."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from medpref.errors import InputError
from medpref.evaluation.alignment import NORMAL, AlignedTask, Key, Spec
from medpref.evaluation.comparison import ALL_SEEDS, all_pairs, compare
from medpref.evaluation.holm import holm
from medpref.evaluation.intervals import Draws, pool
from medpref.evaluation.log import EvaluationLog
from medpref.report.compare.studies import Study, same_samples
from medpref.report.layout import Headline
from medpref.report.tables import Delta, Score

_SHARED = "shared"
_SIDES = ("first", "second")
_LEVEL = 0.975


class Side(NamedTuple):
    """One method of one backbone of one study."""

    study: Study
    backbone: str
    method: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A method in one study less the same method in the first study.

    Attributes:
        figure: what they are compared by.
        first: the method in the first study.
        second: the method in the other.
        delta: the difference; its p_study is corrected over all differences of the comparison.
        paired: whether it was paired sample by sample.
        note: why it was not, or what has to be said; empty otherwise.
    """

    figure: Headline
    first: Side
    second: Side
    delta: Delta
    paired: bool
    note: str


def find_differences(studies: Sequence[Study]) -> list[Difference]:
    """Return every method's difference to the first study, by all figures that both have.

    Paired differences are those of `medpref.evaluation.comparison`: a bootstrap interval over clusters, or a
    t interval over seeds and clusters for several seeds, and the sign-flip test. An unpaired difference has
    a normal interval, its variance the sum of both scores' bootstrap variances, and the p value of a z test.
    The p values are corrected together after Holm.
    """
    first, *others = studies
    found = [one for other in others for one in _of_two(first, other)]
    p_values = [math.nan if one.delta.p_value is None else one.delta.p_value for one in found]
    return [
        replace(one, delta=one.delta._replace(p_study=None if math.isnan(p) else p))
        for one, p in zip(found, holm(p_values), strict=True)
    ]


def matching(first: Study, second: Study) -> list[tuple[Side, Side]]:
    """Return the methods that two studies share, in the first one's order.

    Backbones match by their names; where each study has a single one, these two are taken for the same.
    """
    backbones = [(name, name) for name in first.layout.backbones if name in second.layout.backbones]
    if not backbones and len(first.layout.backbones) == len(second.layout.backbones) == 1:
        backbones = [(first.layout.backbones[0], second.layout.backbones[0])]
    methods = [name for name in first.layout.methods if name in second.layout.methods]
    return [
        (Side(first, one, method), Side(second, two, method))
        for (one, two), method in product(backbones, methods)
    ]


def _of_two(first: Study, second: Study) -> Iterator[Difference]:
    figures = [figure for figure in first.layout.headline if figure in second.layout.headline]
    for task in dict.fromkeys(figure.task for figure in figures):
        own = [figure for figure in figures if figure.task == task]
        same, note = same_samples(first, second, task)
        for one, two in matching(first, second):
            logs = one.study.logs(task, *one[1:]), two.study.logs(task, *two[1:])
            if all(logs):
                yield from _of_method(one, two, own, logs, (same, note))


def _of_method(
    one: Side,
    two: Side,
    figures: Sequence[Headline],
    logs: tuple[Sequence[EvaluationLog], Sequence[EvaluationLog]],
    samples: tuple[bool, str],
) -> Iterator[Difference]:
    paired, note = samples
    versions = {log.header.task_version for side in logs for log in side}
    if len(versions) > 1:
        raise InputError(
            f"{figures[0].task} was asked in the versions {', '.join(map(str, sorted(versions)))}",
            where=two.study.label,
            remedy="Scores of two versions of a task cannot be compared: run the older study again.",
        )
    specs = [Spec(figure.metric, figure.slice) for figure in figures]
    found = _paired(one, two, logs, specs) if paired else {}
    if paired and not found:
        paired, note = False, "the studies have no seed in common"
    if not paired:
        found = _unpaired(one, two, logs, specs)
    for figure, spec in zip(figures, specs, strict=True):
        if spec in found:
            delta = found[spec]._replace(row={"metric": figure.metric})
            yield Difference(figure, one, two, delta, paired, note)


def _slices(*sides: Side) -> dict[str, list[str]]:
    return {
        name: kinds for side in sides for name, kinds in (side.study.run.about.get("slices") or {}).items()
    }


def _paired(
    one: Side,
    two: Side,
    logs: tuple[Sequence[EvaluationLog], Sequence[EvaluationLog]],
    specs: Sequence[Spec],
) -> dict[Spec, Delta]:
    """Return the paired differences, the second side less the first."""
    renamed = [
        EvaluationLog(replace(log.header, backbone=_SHARED, method=name), log.records)
        for name, side in zip(_SIDES, logs, strict=True)
        for log in side
    ]
    task = AlignedTask(renamed, _slices(one, two))
    known = [spec for spec in specs if spec in task.specs]
    first, second = (task.runs[Key(_SHARED, name, NORMAL)] for name in _SIDES)
    tests = all_pairs(task, [second, first], known).get((0, 1))
    if tests is None:
        return {}
    found = {}
    rows = {(seed, spec): row for seed, spec, row in compare(task, second, first, known)}
    pooled = any(seed == ALL_SEEDS for seed, _ in rows)
    for (seed, spec), row in rows.items():
        if pooled and seed != ALL_SEEDS:
            continue
        test = tests[known.index(spec)]
        p_values = [p for p in (test.p_value, test.p_seeds) if not math.isnan(p)]
        p_value = max(p_values) if p_values else None
        ends = (_number(row["ci_low"]), _number(row["ci_high"]))
        found[spec] = Delta(row["difference"], *ends, row["n"], p_value)
    return found


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _unpaired(
    one: Side,
    two: Side,
    logs: tuple[Sequence[EvaluationLog], Sequence[EvaluationLog]],
    specs: Sequence[Spec],
) -> dict[Spec, Delta]:
    """Return the differences of two independent scores, the second side less the first."""
    sides = [_draws(side, own, specs) for side, own in zip((one, two), logs, strict=True)]
    found = {}
    for spec in specs:
        if all(spec in side for side in sides):
            (a, error_a, n_a), (b, error_b, n_b) = (side[spec] for side in sides)
            error = math.hypot(error_a, error_b)
            if math.isnan(b - a):
                continue
            found[spec] = _independent(b - a, error, min(n_a, n_b))
    return found


def _independent(value: float, error: float, n: int) -> Delta:
    """Return a difference with a normal interval and a z test; neither where its error is unknown or none."""
    if math.isnan(error) or error == 0:
        return Delta(value, None, None, n)
    half = float(norm.ppf(_LEVEL)) * error
    return Delta(value, value - half, value + half, n, float(2 * norm.sf(abs(value) / error)))


def _draws(
    side: Side, logs: Sequence[EvaluationLog], specs: Sequence[Spec]
) -> dict[Spec, tuple[float, float, int]]:
    """Return the value, its standard error and n of each statistic, seeds pooled."""
    task = AlignedTask(logs, _slices(side))
    known = [spec for spec in specs if spec in task.specs]
    runs = task.runs[Key(side.backbone, side.method, NORMAL)].values()
    draws = [task.bootstrap.draw(task.run_columns(run, known)) for run in runs]
    both: Draws = pool(draws) if len(draws) > 1 else draws[0]
    errors = np.std(both.resampled, axis=0, ddof=1)
    columns = zip(both.value.tolist(), errors.tolist(), both.n.tolist(), strict=True)
    return {spec: (value, error, n) for spec, (value, error, n) in zip(known, columns, strict=True)}


def score(side: Side, figure: Headline) -> Score | None:
    """Return a side's score as its study's results have it."""
    return side.study.index.score(side.backbone, side.method, figure)
