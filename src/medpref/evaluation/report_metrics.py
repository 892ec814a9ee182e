"""Radiology metrics of other packages, put into the logs of reports and captions."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medpref.errors import InputError
from medpref.evaluation.log import EvaluationLog, Record
from medpref.evaluation.radiology import Unscored, metrics, score_reports
from medpref.evaluation.tasks import Task


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
