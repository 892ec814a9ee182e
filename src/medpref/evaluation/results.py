"""All figures of a study in one document: scores, comparisons with controls, and what the image is worth.

Everything is computed for one task at a time. The task's samples, over all its logs, are put in one order;
each log becomes arrays in that order, so that pairing two logs is a subtraction.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from medpref.errors import InputError, did_you_mean
from medpref.evaluation.intervals import ClusterBootstrap, Columns, Draws, differences, holm, pool
from medpref.evaluation.log import EvaluationLog, Record
from medpref.evaluation.scores.closed import Polarity, gold_polarity

RESULTS_VERSION = 1
ALL_SEEDS = "all"
_SORTS = ("all", "closed", "open")
_KIND = "kind:"
_BASELINE = "baseline:"
_UNTOLD = ("condition", "p_value")
_FAMILY = ("backbone", "control", "seed", "metric", "slice", "condition")

Row = dict[str, Any]
Values = Float[np.ndarray, "samples"]
Flags = Bool[np.ndarray, "samples"]


class _Spec(NamedTuple):
    metric: str
    slice: str


# A metric computed from another: the mean of the other's means over the samples with each reference.
_DERIVED = {"balanced_accuracy": ("accuracy", (Polarity.YES, Polarity.NO))}


@dataclass(frozen=True, slots=True)
class _Run:
    """One log in its task's order of samples; `scores` are NaN where a sample is absent or unscored."""

    scores: dict[str, Values]
    unscored: Flags


class _Key(NamedTuple):
    backbone: str
    method: str
    condition: str


_Seeds = dict[int, _Run]
_Slices = Mapping[str, Collection[str]]


def build_results(
    logs: Sequence[EvaluationLog],
    *,
    study: str,
    controls: Sequence[str],
    headline: Sequence[tuple[str, str, str]],
    slices: _Slices,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Compute the content of results.json.

    All figures are rounded to six decimals, None where they cannot be computed; all intervals are 95 %
    cluster-bootstrap intervals. The order of rows does not depend on the order of `logs`.

    Args:
        logs: the evaluation logs, one for each backbone, method, seed, task and condition.
        study: the study's name.
        controls: the methods that every other method is compared with; baselines are not compared.
        headline: the (task, metric, slice) that methods are compared by; tasks without logs are passed over.
        slices: named slices, each a set of question kinds, beside "all", "closed", "open" and "kind:<kind>".
        resamples: how many bootstrap resamples and sign flips.

    Returns:
        ``version``, ``study``, and three lists of rows that all say backbone, method, seed, task, metric and
        slice, where seed "all" pools several seeds:

        - ``rows``: condition, value, n, ci_low, ci_high, unscored (samples without a score, over all seeds)
          and, for seed "all", sd over the seeds. Beside the logs' scores there is balanced_accuracy, over the
          closed questions whose reference is yes or no, where a slice has both.
        - ``comparisons``: control, condition, difference (method less control) over the n samples that both
          have, ci_low, ci_high, p_value (sign flips over clusters), p_holm (corrected over the methods that
          are compared with this control by this figure). Runs are paired by seed; the only run of a method
          is paired with every run of the other.
        - ``image_reliance``: difference (image less blank image), ci_low, ci_high, n, for the slices "all",
          the named ones, and those of the headline.

    Raises:
        InputError: two logs of one run, two versions or splits of a task, a sample twice in a log or in
            different clusters, a slice with a reserved name, or a headline with an unknown slice.
    """
    _check_names(slices, headline)
    found: dict[str, list[Row]] = {"rows": [], "comparisons": [], "image_reliance": []}
    for name in sorted({log.header.task for log in logs}):
        task_logs = (log for log in logs if log.header.task == name)
        task = _Task(sorted(task_logs, key=_name), slices, resamples)
        found["rows"] += task.rows()
        specs = sorted({_Spec(h[1], h[2]) for h in headline if h[0] == name} & set(task.specs))
        found["comparisons"] += _with_holm(list(task.comparisons(specs, controls)))
        asked = (h[2] for h in headline if h[0] == name)
        found["image_reliance"] += task.image_reliance(dict.fromkeys(["all", *slices, *asked]))
    return {"version": RESULTS_VERSION, "study": study} | {k: _tidy(rows) for k, rows in found.items()}


class _Task:
    """All logs of one task, in the order of their names."""

    def __init__(self, logs: Sequence[EvaluationLog], slices: _Slices, resamples: int) -> None:
        self.name = logs[0].header.task
        _check_alike(logs)
        samples: dict[str, Record] = {}
        for log in logs:
            for record in log.records:
                if samples.setdefault(record.id, record).cluster != record.cluster:
                    raise InputError("two logs put this sample in different clusters", where=record.id)
        records = [samples[name] for name in sorted(samples)]
        self._places = {record.id: place for place, record in enumerate(records)}
        self._slices = _members(records, slices)
        golds = np.array([gold_polarity(record.gold) if record.closed else None for record in records])
        self._golds = {gold: np.asarray(golds == gold) for gold in Polarity}
        self._bootstrap = ClusterBootstrap([record.cluster for record in records], resamples=resamples)
        self._runs: dict[_Key, _Seeds] = defaultdict(dict)
        for log in logs:
            key = _Key(log.header.backbone, log.header.method, log.header.condition)
            if log.header.seed in self._runs[key]:
                raise InputError("there are two logs of this run", where=_name(log))
            self._runs[key][log.header.seed] = self._align(log)
        self.specs = self._applicable()

    def _applicable(self) -> list[_Spec]:
        """Return the statistics that some log has: an open question has no accuracy."""
        best: dict[str, Values] = {}
        for run in (run for seeds in self._runs.values() for run in seeds.values()):
            for metric, values in run.scores.items():
                best[metric] = np.fmax(best.get(metric, values), values)
        specs = [_Spec(*spec) for spec in product(sorted({*best, *_DERIVED}), self._slices)]
        columns = self._columns(best, specs)
        lacking = set(columns.owner[np.isnan(columns.values).all(axis=0)].tolist())
        return [spec for number, spec in enumerate(specs) if number not in lacking]

    def _align(self, log: EvaluationLog) -> _Run:
        scores: dict[str, Values] = defaultdict(lambda: np.full(len(self._places), np.nan))
        unscored = np.zeros(len(self._places), dtype=bool)
        for record in log.records:
            place = self._places[record.id]
            unscored[place] = record.unscored is not None
            for metric, value in record.scores.items():
                scores[metric][place] = value
        if len({record.id for record in log.records}) < len(log.records):
            raise InputError("a sample occurs twice in one log", where=_name(log))
        return _Run(dict(scores), unscored)

    def rows(self) -> Iterator[Row]:
        """Yield the scores of every log, and of every method over its seeds."""
        for key, seeds in self._runs.items():
            draws = [self._bootstrap.draw(self._columns(run.scores, self.specs)) for run in seeds.values()]
            for (seed, run), draw in zip(seeds.items(), draws, strict=True):
                yield from self._score_rows(key, seed, draw, [run])
            if len(seeds) > 1:
                spread = np.std([draw.value for draw in draws], axis=0, ddof=1)
                sd = dict(zip(self.specs, spread.tolist(), strict=True))
                for row in self._score_rows(key, ALL_SEEDS, pool(draws), list(seeds.values())):
                    yield {**row, "sd": sd[_Spec(row["metric"], row["slice"])]}

    def _score_rows(self, key: _Key, seed: int | str, draws: Draws, runs: Sequence[_Run]) -> Iterator[Row]:
        unscored = np.sum([run.unscored for run in runs], axis=0)
        missing = {name: int(unscored[members].sum()) for name, members in self._slices.items()}
        for spec, (value, low, high, n) in zip(self.specs, draws.estimates(), strict=True):
            if n or missing[spec.slice]:
                figures = {"value": value, "n": n, "ci_low": low, "ci_high": high}
                yield {**self._place(key, seed, spec), **figures, "unscored": missing[spec.slice]}

    def comparisons(self, specs: Sequence[_Spec], controls: Sequence[str]) -> Iterator[Row]:
        """Yield every method against every control that its backbone has."""
        for key, control in product(self._runs, controls):
            other = self._runs.get(key._replace(method=control))
            if other and control != key.method and not key.method.startswith(_BASELINE):
                rows = self._differences(key, self._runs[key], other, specs)
                yield from ({**row, "control": control} for row in rows)

    def image_reliance(self, slices: Collection[str]) -> Iterator[Row]:
        """Yield what every method loses with the image blanked."""
        specs = [spec for spec in self.specs if spec.slice in slices]
        for key, seeds in self._runs.items():
            blank = self._runs.get(key._replace(condition="blank"))
            if blank and key.condition == "normal":
                rows = self._differences(key, seeds, blank, specs)
                yield from ({name: row[name] for name in row if name not in _UNTOLD} for row in rows)

    def _differences(self, key: _Key, first: _Seeds, second: _Seeds, specs: Sequence[_Spec]) -> Iterator[Row]:
        pairs = {
            seed: self._columns({name: one[name] - two[name] for name in one.keys() & two.keys()}, specs)
            for seed, one, two in _paired(first, second)
        }
        groups: dict[int | str, list[Columns]] = {seed: [columns] for seed, columns in pairs.items()}
        if len(pairs) > 1:
            groups[ALL_SEEDS] = list(pairs.values())
        for seed, runs in groups.items():
            for spec, found in zip(specs, differences(self._bootstrap, runs), strict=True):
                if found.n:
                    figures = {"difference": found.value, "ci_low": found.low, "ci_high": found.high}
                    yield {**self._place(key, seed, spec), **figures, "p_value": found.p_value, "n": found.n}

    def _columns(self, scores: Mapping[str, Values], specs: Sequence[_Spec]) -> Columns:
        nothing = np.full(len(self._places), np.nan)
        values: list[Values] = []
        owner: list[int] = []
        for number, (metric, name) in enumerate(specs):
            source, golds = _DERIVED.get(metric, (metric, ()))
            members = self._slices[name]
            for group in [members & self._golds[gold] for gold in golds] or [members]:
                values.append(np.where(group, scores.get(source, nothing), np.nan))
                owner.append(number)
        return Columns(np.stack([nothing, *values], axis=1)[:, 1:], np.array(owner, dtype=np.int64))

    def _place(self, key: _Key, seed: int | str, spec: _Spec) -> Row:
        return {**key._asdict(), "seed": seed, "task": self.name, **spec._asdict()}


def _members(records: Sequence[Record], named: _Slices) -> dict[str, Flags]:
    """Return which samples each slice has; a sample of several kinds counts in each."""
    kinds = sorted({kind for record in records for kind in record.kinds})
    sets = {name: set(members) for name, members in named.items()} | {_KIND + kind: {kind} for kind in kinds}
    closed = np.array([record.closed for record in records], dtype=bool)
    everything = {"all": np.ones(len(records), dtype=bool), "closed": closed, "open": ~closed}
    return everything | {
        name: np.array([not members.isdisjoint(record.kinds) for record in records], dtype=bool)
        for name, members in sets.items()
    }


def _paired(first: _Seeds, second: _Seeds) -> Iterator[tuple[int, dict[str, Values], dict[str, Values]]]:
    """Yield (seed, scores, scores): common seeds, or one side's only run beside each of the other's."""
    for seed in sorted(first.keys() | second.keys()):
        one = next(iter(first.values())) if len(first) == 1 < len(second) else first.get(seed)
        two = next(iter(second.values())) if len(second) == 1 else second.get(seed)
        if one and two:
            yield seed, one.scores, two.scores


def _with_holm(rows: Sequence[Row]) -> list[Row]:
    """Add ``p_holm``: corrected over the methods that are compared with one control by one figure."""
    families: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        families[tuple(row[name] for name in _FAMILY)].append(row)
    return [
        {**row, "p_holm": corrected}
        for family in families.values()
        for row, corrected in zip(family, holm([row["p_value"] for row in family]), strict=True)
    ]


def _tidy(rows: Sequence[Row]) -> list[Row]:
    """Sort rows, numbered seeds before "all", and round their figures; NaN becomes None."""
    return [{name: _rounded(value) for name, value in row.items()} for row in sorted(rows, key=_order)]


def _order(row: Row) -> tuple[Any, ...]:
    seed = (1, 0) if row["seed"] == ALL_SEEDS else (0, row["seed"])
    run = (row["task"], row.get("condition", ""), row["backbone"], row["method"], row.get("control", ""))
    return (*run, seed, row["metric"], row["slice"])


def _rounded(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else round(value, 6) + 0.0  # which turns -0.0 into 0.0


def _name(log: EvaluationLog) -> str:
    header = log.header
    return f"{header.task} {header.backbone} {header.method} {header.seed} {header.condition}"


def _check_alike(logs: Sequence[EvaluationLog]) -> None:
    for field in ("task_version", "split"):
        values = sorted({str(getattr(log.header, field)) for log in logs})
        if len(values) > 1:
            raise InputError(f"logs of more than one {field}: {', '.join(values)}", where=logs[0].header.task)


def _check_names(named: Iterable[str], headline: Sequence[tuple[str, str, str]]) -> None:
    for name in named:
        if name in _SORTS or name.startswith(_KIND):
            raise InputError("this slice's name is reserved", where=name)
    known = {*named, *_SORTS}
    for *_, name in headline:
        if name not in known and not name.startswith(_KIND):
            raise InputError(f"there is no slice called {name!r}", remedy=did_you_mean(name, known))
