"""Logs by run and condition, and figures over them with intervals over clusters and seeds."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from medpref.evaluation.columns import one_column_each
from medpref.evaluation.intervals import ClusterBootstrap, Draws, pool
from medpref.evaluation.log import EvaluationLog, Record

Row = dict[str, Any]
Seed = int | str
ALL_SEEDS = "all"
_BASELINE = "baseline:"
# Of these, the first that a record has tells whether its answer is right.
_RIGHT = ("accuracy", "exact_match")


class Run(NamedTuple):
    """Who answered what: all seeds of one method on one task."""

    task: str
    backbone: str
    method: str

    def place(self, seed: Seed) -> Row:
        """Return what tells a row's run."""
        return {"backbone": self.backbone, "method": self.method, "seed": seed, "task": self.task}


Answers = Mapping[str, Record]
"""The records of one log by sample id."""
Conditions = Mapping[str, Answers]
"""The logs of one run with one seed, by condition."""


def by_run(logs: Sequence[EvaluationLog]) -> Iterator[tuple[Run, Mapping[int, Conditions]]]:
    """Yield the logs of each run by seed and condition, in order; baselines are no runs."""
    found: dict[Run, dict[int, dict[str, Answers]]] = defaultdict(lambda: defaultdict(dict))
    for log in logs:
        header = log.header
        if header.method.startswith(_BASELINE):
            continue
        run = Run(header.task, header.backbone, header.method)
        found[run][header.seed][header.condition] = {record.id: record for record in log.records}
    for run in sorted(found):
        yield run, {seed: found[run][seed] for seed in sorted(found[run])}


def right(record: Record) -> float:
    """Return 1.0 for a right answer, 0.0 for a wrong one, and NaN where no score tells."""
    return next((record.scores[metric] for metric in _RIGHT if metric in record.scores), float("nan"))


def estimates(
    seeds: Mapping[int, Float[np.ndarray, "samples figures"]], clusters: Sequence[str]
) -> Iterator[tuple[Seed, list[Row]]]:
    """Yield, for each seed and for all together, the mean of each column with its 95 % interval.

    Args:
        seeds: for each seed, figures of the same samples; NaN where a sample has none.
        clusters: the cluster of each sample.
    """
    if not clusters:
        return
    bootstrap = ClusterBootstrap(clusters)
    yield from with_pooled({seed: bootstrap.draw(one_column_each(values)) for seed, values in seeds.items()})


def with_pooled(draws: Mapping[int, Draws]) -> Iterator[tuple[Seed, list[Row]]]:
    """Yield the rows of each seed's figures, and of the figures over the seeds where there are several."""
    for seed, own in draws.items():
        yield seed, figures(own)
    if len(draws) > 1:
        yield ALL_SEEDS, figures(pool(list(draws.values())))


def figures(draws: Draws) -> list[Row]:
    """Return each figure as value, ci_low, ci_high and n; None where it cannot be computed."""
    return [
        {"value": tidy(one.value), "ci_low": tidy(one.low), "ci_high": tidy(one.high), "n": int(one.n)}
        for one in draws.estimates()
    ]


def tidy(value: float) -> float | None:
    """Return a figure rounded to six decimals, None for NaN."""
    return None if np.isnan(value) else round(float(value), 6) + 0.0


def shared_samples(seeds: Mapping[int, Conditions], names: Sequence[str]) -> list[Record]:
    """Return the samples, as the first of `names` shows them, that all seeds with these logs have in each."""
    there = [conditions for conditions in seeds.values() if all(name in conditions for name in names)]
    if not there:
        return []
    common = set.intersection(*(set(conditions[name]) for conditions in there for name in names))
    return [there[0][names[0]][ident] for ident in sorted(common)]
