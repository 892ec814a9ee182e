"""From evaluation logs to a study's one table: scores, comparisons with controls, ranks, and image reliance.

Each task is computed by itself; only the corrections for the number of tests look at the whole study.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from medpref.errors import InputError, did_you_mean
from medpref.evaluation.alignment import (
    KIND,
    NORMAL,
    SORTS,
    AlignedTask,
    Key,
    NamedSlices,
    Run,
    Spec,
    attribute_slices,
)
from medpref.evaluation.comparison import ALL_SEEDS, all_pairs, compare
from medpref.evaluation.conditions import conditions
from medpref.evaluation.families import BASELINE, Row, correct_comparisons, correct_pairs, rankings
from medpref.evaluation.intervals import Draws, pool
from medpref.evaluation.log import EvaluationLog
from medpref.evaluation.looking import Kinds, looking_rows
from medpref.evaluation.report_metrics import unscored_metrics

RESULTS_VERSION = 2
_RELIANCE = ("difference", "ci_low", "ci_high", "n")


def build_results(
    logs: Sequence[EvaluationLog],
    *,
    study: str,
    controls: Sequence[str],
    headline: Sequence[tuple[str, str, str]],
    slices: NamedSlices,
    resamples: int = 2000,
    judged: Kinds | None = None,
    apart: Collection[str] = (),
) -> dict[str, Any]:
    """Compute the content of results.json; docs/statistics.md tells the formulas.

    All figures are rounded to six decimals, None where they cannot be computed; all intervals are 95 %
    intervals. The order of rows does not depend on the order of `logs`.

    Args:
        logs: the evaluation logs, one for each backbone, method, seed, task and condition.
        study: the study's name.
        controls: the methods that every other method is compared with; baselines are not compared.
        headline: the (task, metric, slice) that methods are compared by; tasks without logs are passed over.
        slices: named slices, each a set of question kinds, beside "all", "closed", "open", "kind:<kind>" and,
            for each attribute of the samples, "<attribute>:<value>".
        resamples: how many bootstrap resamples, and how many sign flips at first.
        apart: methods that are no contenders, and compared with nothing unless they are controls.
        judged: the kinds of wrong answers by a judge, from `medpref.evaluation.looking.judge_errors`.

    Returns:
        ``version``, ``study``, ``families``, ``looking`` and lists of rows that all say backbone, task,
        metric and slice, and seed, where "all" pools several seeds:

        - ``rows``: method, condition, value, n, ci_low, ci_high (over clusters, and over seeds where several
          are pooled), unscored (samples without a score, over all seeds) and, for seed "all", sd over the
          seeds. Beside the logs' scores there is balanced_accuracy, over the closed questions whose reference
          is yes or no, where a slice has both, and the task's corpus scores, which have no interval.
        - ``comparisons``: method, control, condition, and the figures of the paired difference, method less
          control, over the n samples that both have. ci_low and ci_high are by bootstrap for one seed, by t
          with seeds as a random effect for several (then boot_low, boot_high are the bootstrap's). Tests are
          p_value (sign flips over clusters), p_seeds (t, several seeds) and McNemar's for metrics of 0 and 1
          (b, c, p_mcnemar, p_mcnemar_clustered). p_holm is p_value corrected over the methods that are
          compared with this control by this figure; p_study is the larger of p_value and p_seeds, corrected
          over all headline comparisons with this control in the study, and None for single seeds beside their
          pool and under other conditions. Besides there are effect sizes (d_z, cohens_h, odds_ratio), seeds,
          images, sd_images, sd_seeds, df, and detectable, the smallest difference that could be found. Runs
          are paired by seed; the only run of a method is paired with every run of the other.
        - ``pairs``: first, second, difference, n, p_value, p_seeds and p_study (the larger of both, corrected
          over all pairs, backbones and headline figures) of every two methods, all seeds pooled.
        - ``rankings``: method, value, best and worst (the ranks that it may hold) and group (letters; methods
          that share one are not separated by p_study below 0.05).
        - ``image_reliance``: for every condition with a control: method, condition, and the paired
          difference, control less condition, over the n samples that both have, with its interval, for the
          slices "all", the named ones, and those of the headline.

        ``families`` counts the tests behind each p_study: ``comparisons`` by control, and ``pairs``.

    Raises:
        InputError: two logs of one run, two versions or splits of a task, a sample twice in a log or in
            different clusters, a reserved name of a slice or attribute, or a headline with an unknown slice.
    """
    _check_names(slices, headline, attribute_slices(logs))
    found: dict[str, list[Row]] = defaultdict(list)
    for name in sorted({log.header.task for log in logs}):
        task = AlignedTask([log for log in logs if log.header.task == name], slices, resamples)
        specs = sorted({Spec(h[1], h[2]) for h in headline if h[0] == name} & set(task.specs))
        asked = dict.fromkeys(["all", *slices, *(spec.slice for spec in specs)])
        found["rows"] += _score_rows(task)
        found["comparisons"] += _comparisons(task, specs, controls, apart)
        found["pairs"] += _pairs(task, specs, apart)
        found["image_reliance"] += _image_reliance(task, asked)
    comparisons, families = correct_comparisons(found["comparisons"], found["pairs"])
    pairs, tests = correct_pairs(found["pairs"])
    lists = {
        "rows": found["rows"],
        "comparisons": comparisons,
        "pairs": pairs,
        "rankings": list(rankings(found["rows"], pairs)),
        "image_reliance": found["image_reliance"],
    }
    head = {"version": RESULTS_VERSION, "study": study, "families": {"comparisons": families, "pairs": tests}}
    ordered = sorted(logs, key=_log_order)
    return {
        **head,
        **{name: _tidy(rows) for name, rows in lists.items()},
        "unscored_metrics": unscored_metrics(ordered),
        "looking": looking_rows(ordered, judged),
    }


def _log_order(log: EvaluationLog) -> tuple[Any, ...]:
    about = log.header
    return about.task, about.backbone, about.method, about.seed, about.condition


def _score_rows(task: AlignedTask) -> Iterator[Row]:
    """Yield the scores of every log, and of every method over its seeds."""
    for key, seeds in task.runs.items():
        draws = [task.bootstrap.draw(task.run_columns(run, task.specs)) for run in seeds.values()]
        for (seed, run), draw in zip(seeds.items(), draws, strict=True):
            yield from _rows_of(task, key, seed, draw, [run])
        if len(seeds) > 1:
            spread = np.std([draw.value for draw in draws], axis=0, ddof=1)
            sd = dict(zip(task.specs, spread.tolist(), strict=True))
            for row in _rows_of(task, key, ALL_SEEDS, pool(draws), list(seeds.values())):
                yield {**row, "sd": sd[Spec(row["metric"], row["slice"])]}
        yield from _corpus_rows(task, key)


def _rows_of(
    task: AlignedTask, key: Key, seed: int | str, draws: Draws, runs: Sequence[Run]
) -> Iterator[Row]:
    unscored = np.sum([run.unscored for run in runs], axis=0)
    missing = {name: int(unscored[members].sum()) for name, members in task.slices.items()}
    for spec, (value, low, high, n) in zip(task.specs, draws.estimates(), strict=True):
        if n or missing[spec.slice]:
            figures = {"value": value, "n": n, "ci_low": low, "ci_high": high}
            yield {**_place(task, key, seed, spec), **figures, "unscored": missing[spec.slice]}


def _corpus_rows(task: AlignedTask, key: Key) -> Iterator[Row]:
    """Yield the scores of all answers together: no mean over samples, so they have no interval here."""
    seeds = task.runs[key]
    for metric in sorted({name for run in seeds.values() for name in run.corpus}):
        values = [run.corpus.get(metric, math.nan) for run in seeds.values()]
        plain = {
            "n": max(run.asked for run in seeds.values()),
            "ci_low": None,
            "ci_high": None,
            "unscored": 0,
        }
        spec = Spec(metric, "all")
        for seed, value in zip(seeds, values, strict=True):
            yield {**_place(task, key, seed, spec), "value": value, **plain}
        if len(values) > 1:
            mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
            yield {**_place(task, key, ALL_SEEDS, spec), "value": mean, **plain, "sd": sd}


def _comparisons(
    task: AlignedTask, specs: Sequence[Spec], controls: Sequence[str], apart: Collection[str]
) -> Iterator[Row]:
    """Yield every method against every control that its backbone has."""
    for key, control in product(task.runs, controls):
        other = task.runs.get(key._replace(method=control)) if key.method not in apart else None
        if other and control != key.method and not key.method.startswith(BASELINE):
            for seed, spec, figures in compare(task, task.runs[key], other, specs):
                yield {**_place(task, key, seed, spec), **figures, "control": control}


def _image_reliance(task: AlignedTask, slices: Collection[str]) -> Iterator[Row]:
    """Yield what every method loses under each condition."""
    specs = [spec for spec in task.specs if spec.slice in slices]
    for key, seeds in task.runs.items():
        control = conditions[key.condition].control if key.condition in conditions else NORMAL
        if control is None or key.condition == NORMAL:
            continue
        shown = task.runs.get(key._replace(condition=control))
        for seed, spec, figures in compare(task, shown, seeds, specs) if shown else ():
            yield {**_place(task, key, seed, spec), **{name: figures[name] for name in _RELIANCE}}


def _pairs(task: AlignedTask, specs: Sequence[Spec], apart: Collection[str]) -> Iterator[Row]:
    """Yield every two methods of a backbone under normal conditions."""
    for backbone in sorted({key.backbone for key in task.runs}):
        keys = [
            key
            for key in task.runs
            if (key.backbone, key.condition) == (backbone, NORMAL)
            and not key.method.startswith(BASELINE)
            and key.method not in apart
        ]
        for (one, two), tests in all_pairs(task, [task.runs[key] for key in keys], specs).items():
            for spec, test in zip(specs, tests, strict=True):
                names = {"first": keys[one].method, "second": keys[two].method}
                place = {"backbone": backbone, **names, "task": task.name, **spec._asdict()}
                if test.n:
                    yield {**place, **test._asdict()}


def _place(task: AlignedTask, key: Key, seed: int | str, spec: Spec) -> Row:
    return {**key._asdict(), "seed": seed, "task": task.name, **spec._asdict()}


def _tidy(rows: Sequence[Row]) -> list[Row]:
    """Sort rows, numbered seeds before "all", and round their figures; NaN becomes None."""
    return [{name: _rounded(value) for name, value in row.items()} for row in sorted(rows, key=_order)]


def _order(row: Row) -> tuple[Any, ...]:
    seed = row.get("seed", 0)
    runs = ("task", "condition", "backbone", "method", "control", "first", "second")
    names = tuple(row.get(name, "") for name in runs)
    return (*names, (1, 0) if seed == ALL_SEEDS else (0, seed), row["metric"], row["slice"])


def _rounded(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else round(value, 6) + 0.0  # which turns -0.0 into 0.0


def _check_names(named: Iterable[str], headline: Sequence[tuple[str, str, str]], more: Iterable[str]) -> None:
    for name in named:
        if name in SORTS or ":" in name:
            raise InputError("this slice's name is reserved", where=name)
    known = {*named, *SORTS, *more}
    for *_, name in headline:
        if name not in known and not name.startswith(f"{KIND}:"):
            raise InputError(f"there is no slice called {name!r}", remedy=did_you_mean(name, known))
