"""Score logged answers once more."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from medpref.evaluation.likelihood import ChoiceScores, likelihood_scores
from medpref.evaluation.log import EvaluationLog, Record
from medpref.evaluation.tasks import Task, tasks
from medpref.pairs.sample import Sample

_NEAR = 1e-9
# Log-probs per token are not kept, so that what is computed from them cannot be computed anew.
_PER_TOKEN = "likelihood_accuracy_per_token"


class Fault(NamedTuple):
    """A score that is another one when it is computed anew; `found` is None where there is none."""

    place: str
    metric: str
    logged: float | None
    found: float | None


@dataclass(slots=True)
class Rescored:
    """What came of scoring anew.

    Attributes:
        scores: how many scores are the logged ones.
        faults: those that are not.
        unknown: how many scores could not be computed anew, by the reason.
    """

    scores: int = 0
    faults: list[Fault] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)


def rescore(logs: Iterable[EvaluationLog], samples: Mapping[str, Sequence[Sample]]) -> Rescored:
    """Score the answers of logs by the rules of their tasks, and by the logged log-probs.

    Args:
        logs: the logs.
        samples: what was asked, by task: the logs do not have the answers that a question allows.
    """
    result = Rescored()
    for log in logs:
        task, reason = _task(log, samples)
        known = {sample.id: sample for sample in samples.get(log.header.task, ())}
        for record in log.records:
            if record.unscored is not None:
                result.unknown["the log says why there is no score"] += 1
            elif task is None or record.id not in known:
                result.unknown[reason or "the sample is not in the archive"] += len(record.scores)
            else:
                _compare(result, log, record, _scores(task, record, known[record.id]))
    return result


def _task(log: EvaluationLog, samples: Mapping[str, Sequence[Sample]]) -> tuple[Task | None, str]:
    about = log.header
    if about.task not in tasks:
        return None, f"this medpref has no task {about.task}"
    task = tasks[about.task]
    if task.version != about.task_version:
        return None, f"{about.task} is of version {about.task_version}, here it is {task.version}"
    return (task, "") if about.task in samples else (None, f"no samples of {about.task} are in the archive")


def _scores(task: Task, record: Record, sample: Sample) -> dict[str, float]:
    """Return the scores of an answer; what a condition changed is as the log has it."""
    asked = Sample(
        id=record.id,
        prompt=record.prompt,
        images=(),
        gold=record.gold,
        kinds=record.kinds,
        closed=record.closed,
        choices=sample.choices,
        cluster=record.cluster,
        attributes=record.attributes,
    )
    likely = likelihood_scores(record.gold, ChoiceScores(record.choice_logps, record.choice_logps))
    likely.pop(_PER_TOKEN, None)
    return {**task.score(asked, record.prediction).scores, **likely}


def _compare(result: Rescored, log: EvaluationLog, record: Record, found: Mapping[str, float]) -> None:
    about = log.header
    place = f"{about.backbone}/seed-{about.seed}/{about.method}, {about.task}, {about.condition}, {record.id}"
    for metric in sorted(found.keys() - record.scores.keys()):
        result.faults.append(Fault(place, metric, None, found[metric]))
    for metric, logged in record.scores.items():
        if metric not in found:
            result.unknown[f"the log has not all that {metric} is computed from"] += 1
        elif math.isclose(found[metric], logged, rel_tol=_NEAR, abs_tol=_NEAR):
            result.scores += 1
        else:
            result.faults.append(Fault(place, metric, logged, found[metric]))


def lines(faults: Sequence[Fault], most: int) -> Iterator[str]:
    """Yield the first faults in words."""
    for fault in faults[:most]:
        yield f"{fault.place}: {fault.metric} is logged as {fault.logged}, and comes to {fault.found}"
