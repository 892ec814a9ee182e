"""All logs of one task in one order of samples, so that pairing two of them is a subtraction."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from medpref.errors import InputError
from medpref.evaluation.columns import Columns
from medpref.evaluation.intervals import RESAMPLES, ClusterBootstrap
from medpref.evaluation.log import EvaluationLog, Record
from medpref.evaluation.scores.closed import Polarity, gold_polarity
from medpref.evaluation.tasks import tasks

NORMAL = "normal"
SORTS = ("all", "closed", "open")
KIND = "kind"

Values = Float[np.ndarray, "samples"]
Flags = Bool[np.ndarray, "samples"]
NamedSlices = Mapping[str, Collection[str]]


class Spec(NamedTuple):
    """A statistic: a metric over a slice."""

    metric: str
    slice: str


class Key(NamedTuple):
    """What runs of several seeds have in common."""

    backbone: str
    method: str
    condition: str


@dataclass(frozen=True, slots=True)
class Run:
    """One log in its task's order of samples.

    Attributes:
        scores: by metric, NaN where a sample is absent or unscored.
        unscored: whether a sample was asked but could not be scored.
        golds: whether a closed question's reference says yes, or no; a condition may turn it round.
        corpus: figures of all answers together.
        asked: how many samples the log holds.
    """

    scores: Mapping[str, Values]
    unscored: Flags
    golds: Mapping[Polarity, Flags]
    corpus: Mapping[str, float]
    asked: int


Seeds = Mapping[int, Run]

# A metric computed from another: the mean of the other's means over the samples with each reference.
_DERIVED = {"balanced_accuracy": ("accuracy", (Polarity.YES, Polarity.NO))}


def log_name(log: EvaluationLog) -> str:
    """Return what tells a log from all others."""
    header = log.header
    return f"{header.task} {header.backbone} {header.method} {header.seed} {header.condition}"


class AlignedTask:
    """All logs of one task.

    Attributes:
        name: the task's.
        slices: which samples each slice has.
        bootstrap: the clusters of the samples.
        runs: by backbone, method and condition, then by seed.
        specs: the statistics that some log has: an open question has no accuracy.
    """

    def __init__(
        self, logs: Sequence[EvaluationLog], slices: NamedSlices, resamples: int = RESAMPLES
    ) -> None:
        """Put the logs in order.

        Raises:
            InputError: two logs of one run, two versions or splits of the task, a sample twice in a log or in
                different clusters, or an attribute with a reserved name.
        """
        logs = sorted(logs, key=log_name)
        self.name = logs[0].header.task
        _check_alike(logs)
        records = _samples(logs)
        self._places = {record.id: place for place, record in enumerate(records)}
        self.slices = _members(records, slices)
        self.bootstrap = ClusterBootstrap([record.cluster for record in records], resamples=resamples)
        self._polarity = cache(gold_polarity)
        self.runs: dict[Key, dict[int, Run]] = defaultdict(dict)
        for log in logs:
            key = Key(log.header.backbone, log.header.method, log.header.condition)
            if log.header.seed in self.runs[key]:
                raise InputError("there are two logs of this run", where=log_name(log))
            self.runs[key][log.header.seed] = self._align(log)
        self.specs = self._applicable()

    def _align(self, log: EvaluationLog) -> Run:
        size = len(self._places)
        scores: dict[str, Values] = defaultdict(lambda: np.full(size, np.nan))
        unscored = np.zeros(size, dtype=bool)
        golds = {gold: np.zeros(size, dtype=bool) for gold in Polarity}
        for record in log.records:
            place = self._places[record.id]
            unscored[place] = record.unscored is not None
            if record.closed and (gold := self._polarity(record.gold)):
                golds[gold][place] = True
            for metric, value in record.scores.items():
                scores[metric][place] = value
        if len({record.id for record in log.records}) < len(log.records):
            raise InputError("a sample occurs twice in one log", where=log_name(log))
        return Run(dict(scores), unscored, golds, _corpus(log), len(log.records))

    def _applicable(self) -> list[Spec]:
        seen: dict[str, Values] = {}
        golds = {gold: np.zeros(len(self._places), dtype=bool) for gold in Polarity}
        for run in (run for seeds in self.runs.values() for run in seeds.values()):
            golds = {gold: members | run.golds[gold] for gold, members in golds.items()}
            for metric, values in run.scores.items():
                seen[metric] = np.fmax(seen.get(metric, values), values)
        specs = [Spec(*spec) for spec in product(sorted({*seen, *_DERIVED}), self.slices)]
        columns = self.columns(seen, specs, golds)
        lacking = set(columns.owner[np.isnan(columns.values).all(axis=0)].tolist())
        return [spec for number, spec in enumerate(specs) if number not in lacking]

    def columns(
        self, scores: Mapping[str, Values], specs: Sequence[Spec], golds: Mapping[Polarity, Flags]
    ) -> Columns:
        """Return the columns whose means are the statistics."""
        nothing = np.full(len(self._places), np.nan)
        values: list[Values] = []
        owner: list[int] = []
        for number, (metric, name) in enumerate(specs):
            source, halves = _DERIVED.get(metric, (metric, ()))
            members = self.slices[name]
            for group in [members & golds[gold] for gold in halves] or [members]:
                values.append(np.where(group, scores.get(source, nothing), np.nan))
                owner.append(number)
        return Columns(np.stack([nothing, *values], axis=1)[:, 1:], np.array(owner, dtype=np.int64))

    def run_columns(self, run: Run, specs: Sequence[Spec]) -> Columns:
        """Return one run's columns."""
        return self.columns(run.scores, specs, run.golds)


def paired(first: Seeds, second: Seeds) -> Iterator[tuple[int, Run, Run]]:
    """Yield (seed, run, run): common seeds, or one side's only run beside each of the other's."""
    for seed in sorted(first.keys() | second.keys()):
        one = next(iter(first.values())) if len(first) == 1 < len(second) else first.get(seed)
        two = next(iter(second.values())) if len(second) == 1 else second.get(seed)
        if one and two:
            yield seed, one, two


def attribute_slices(logs: Sequence[EvaluationLog]) -> set[str]:
    """Return the names of the slices by attribute, such as ``organ:chest``."""
    found = {pair for log in logs for record in log.records for pair in record.attributes.items()}
    return {f"{name}:{value}" for name, value in found}


def _samples(logs: Sequence[EvaluationLog]) -> list[Record]:
    """Return every sample once, as it is under normal conditions where it was asked so, sorted by id."""
    found: dict[str, Record] = {}
    for log in sorted(logs, key=lambda log: log.header.condition != NORMAL):
        for record in log.records:
            if found.setdefault(record.id, record).cluster != record.cluster:
                raise InputError("two logs put this sample in different clusters", where=record.id)
    return [found[name] for name in sorted(found)]


def _members(records: Sequence[Record], named: NamedSlices) -> dict[str, Flags]:
    """Return which samples each slice has; a sample of several kinds counts in each."""
    closed = np.array([record.closed for record in records], dtype=bool)
    found = {"all": np.ones(len(records), dtype=bool), "closed": closed, "open": ~closed}
    kinds = sorted({kind for record in records for kind in record.kinds})
    sets = {name: set(members) for name, members in named.items()}
    for name, members in (sets | {f"{KIND}:{kind}": {kind} for kind in kinds}).items():
        found[name] = np.array([not members.isdisjoint(record.kinds) for record in records], dtype=bool)
    for name, value in sorted({pair for record in records for pair in record.attributes.items()}):
        if name == KIND:
            raise InputError(f"an attribute cannot be called {KIND!r}: that names the question kinds")
        flags = [record.attributes.get(name) == value for record in records]
        found[f"{name}:{value}"] = np.array(flags, dtype=bool)
    return found


def _corpus(log: EvaluationLog) -> dict[str, float]:
    """Return the task's scores of all answers together; a task that is not registered has none."""
    scores = tasks[log.header.task].corpus if log.header.task in tasks else {}
    answers, references = [r.prediction for r in log.records], [r.gold for r in log.records]
    return {name: score(answers, references) for name, score in scores.items() if answers}


def _check_alike(logs: Sequence[EvaluationLog]) -> None:
    for field in ("task_version", "split"):
        values = sorted({str(getattr(log.header, field)) for log in logs})
        if len(values) > 1:
            raise InputError(f"logs of more than one {field}: {', '.join(values)}", where=logs[0].header.task)
