"""What reports are scored by beside their words: facts with a judge, and metrics of other packages."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from medpref.errors import InputError
from medpref.evaluation.facts.answers import FactCase, score_facts
from medpref.evaluation.facts.extract import split_facts
from medpref.evaluation.facts.files import read_facts
from medpref.evaluation.facts.judges import Judge
from medpref.evaluation.log import EvaluationLog, Record
from medpref.evaluation.radiology import Unscored, metrics, score_reports
from medpref.evaluation.tasks import Task

FACTS = "facts"
"""Under which a record tells why its facts are unscored."""


class Facts(NamedTuple):
    """What answers' facts are judged by.

    Attributes:
        judge: labels them.
        given: the references' facts by sample; those that are not here are split off the reference by rules.
    """

    judge: Judge
    given: Mapping[str, tuple[str, ...]]


def read_given_facts(path: Path | None) -> dict[str, tuple[str, ...]]:
    """Read the references' facts by sample, none where there is no file. Raises as `read_facts` does."""
    return {} if path is None else {row.id: tuple(row.facts) for row in read_facts(path)}


def with_facts(log: EvaluationLog, facts: Facts, path: Path | None = None) -> EvaluationLog:
    """Return a log with ``fact_comp``, ``fact_hall``, ``fact_precision`` and ``fact_f1``, or why not.

    Args:
        log: of reports or captions.
        facts: the judge, and facts that are known.
        path: where the judge's replies are kept; started again, it is asked for the others only.

    Raises:
        InputError, RunError: as `score_facts` does.
    """
    records = [record for record in log.records if record.unscored is None]
    cases = [
        FactCase(
            record.id,
            facts.given.get(record.id) or tuple(split_facts(record.gold)),
            record.prediction,
            record.gold,
        )
        for record in records
    ]
    scored = score_facts(facts.judge, cases, path)
    changed = {}
    for record, (scores, reason) in zip(records, scored, strict=True):
        untold = {**record.unscored_metrics, FACTS: reason} if reason else record.unscored_metrics
        changed[record.id] = replace(
            record, scores={**record.scores, **scores}, unscored_metrics=dict(untold)
        )
    return EvaluationLog(log.header, tuple(changed.get(record.id, record) for record in log.records))


def check_metrics(names: Iterable[str], task: Task) -> None:
    """Check that there are such metrics, and that they can read the task's answers.

    Raises:
        InputError: there is no such metric, or the task's answers are no reports.
    """
    for name in names:
        metrics[name]  # raises for an unknown name
        if not task.reports:
            raise InputError(f"{name} reads reports, and the answers of {task.name} are none")


def with_metrics(
    log: EvaluationLog, names: Sequence[str], *, cache: Path | None = None, python: str | None = None
) -> EvaluationLog:
    """Return a log with the scores of further metrics, or why a record has none.

    Args:
        log: of reports or captions.
        names: of the metrics in `medpref.evaluation.radiology`.
        cache, python: as `score_reports` has them.

    Raises:
        InputError: there is no such metric.
        RunError: the cache cannot be written.
    """
    records = [record for record in log.records if record.unscored is None]
    predictions, golds = [r.prediction for r in records], [r.gold for r in records]
    for name in names:
        scored = score_reports(name, predictions, golds, cache=cache, python=python)
        records = [_with(record, name, score) for record, score in zip(records, scored, strict=True)]
    by_id = {record.id: record for record in records}
    return EvaluationLog(log.header, tuple(by_id.get(record.id, record) for record in log.records))


def _with(record: Record, name: str, score: float | Unscored) -> Record:
    if isinstance(score, Unscored):
        return replace(record, unscored_metrics={**record.unscored_metrics, name: score.reason})
    return replace(record, scores={**record.scores, name: score})


def unscored_metrics(logs: Iterable[EvaluationLog]) -> list[dict[str, Any]]:
    """Return how many records have no score by a metric, and why: a row for each log, metric and reason."""
    rows = []
    for log in logs:
        about = log.header
        counts = Counter(item for record in log.records for item in record.unscored_metrics.items())
        rows += [
            {
                "task": about.task,
                "backbone": about.backbone,
                "method": about.method,
                "seed": about.seed,
                "condition": about.condition,
                "metric": metric,
                "n": count,
                "reason": reason,
            }
            for (metric, reason), count in sorted(counts.items())
        ]
    return rows
