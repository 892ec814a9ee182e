"""The versioned evaluation log: everything that a report may know about a method on a task.

One JSONL file for each (backbone, method, seed, task, condition): a header line, then one line a sample.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medpref.errors import InputError
from medpref.files import write_jsonl, write_text

LOG_VERSION = 1


@dataclass(frozen=True, slots=True)
class LogHeader:
    """What was asked of whom, and how.

    Attributes:
        study: the study's name.
        backbone: the backbone's name in the study.
        method: the method's name in the study, or ``baseline:NAME`` for an answer that looks at nothing.
        seed: the seed of the run.
        task: the task's name.
        task_version: changes whenever prompts, rows or scores of the task change.
        condition: how the samples were shown, by its name in `medpref.evaluation.conditions`.
        split: which split was asked, ``"test"`` or ``"validation"``.
        model: fingerprint of the weights, or None for a baseline.
        decoding: the generation settings.
        version: the log format's version.
    """

    study: str
    backbone: str
    method: str
    seed: int
    task: str
    task_version: int
    condition: str
    split: str
    model: str | None = None
    decoding: dict[str, Any] = field(default_factory=dict)
    version: int = LOG_VERSION


@dataclass(frozen=True, slots=True)
class Record:
    """One sample of a log.

    Attributes:
        id: the sample's id, unique within the task.
        prompt: what the model was asked.
        images: the image files, as the data names them.
        cluster: the image (or patient) that intervals are clustered by.
        prediction: the model's answer, as generated.
        gold: the reference answer.
        kinds: question kinds, the most certain first.
        closed: whether the question has a closed set of answers.
        scores: metric name to a value in [0, 1]; a metric that does not apply is absent.
        unscored: why the sample has no score, or None. An unscored sample is counted, never a zero.
        region: a mask file of the lesion or region of interest, where there is one.
        unscored_metrics: why the sample has no score by a metric of another package, by the metric.
        choice_logps: the log-prob in nats of each answer that a closed question allows, given image and
            question, where it was computed.
        attributes: what else results are cut by, such as ``{"organ": "chest", "modality": "CT"}``.
    """

    id: str
    prompt: str
    images: tuple[str, ...]
    cluster: str
    prediction: str
    gold: str
    kinds: tuple[str, ...]
    closed: bool
    scores: dict[str, float]
    unscored: str | None = None
    region: str | None = None
    choice_logps: dict[str, float] = field(default_factory=dict)
    unscored_metrics: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvaluationLog:
    """A header with its records."""

    header: LogHeader
    records: tuple[Record, ...]

    def write(self, path: Path) -> None:
        """Write the log, whole or not at all."""
        write_jsonl(path, [asdict(self.header), *(asdict(record) for record in self.records)])


def read_log(path: Path) -> EvaluationLog:
    """Read one evaluation log.

    Raises:
        InputError: the file is missing, cut short, or of another version.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        header = LogHeader(**lines[0])
        records = tuple(_record(line) for line in lines[1:])
    except FileNotFoundError:
        raise InputError("there is no such log", where=str(path)) from None
    except (json.JSONDecodeError, IndexError, TypeError, KeyError) as error:
        raise InputError(f"this is no evaluation log: {error}", where=str(path)) from None
    if header.version != LOG_VERSION:
        raise InputError(f"log version {header.version}, this medpref reads {LOG_VERSION}", where=str(path))
    return EvaluationLog(header, records)


def name_study(path: Path, study: str) -> None:
    """Put a study's name into a log's header; the samples stay as they are."""
    first, rest = path.read_text(encoding="utf-8").split("\n", 1)
    header = {**json.loads(first), "study": study}
    write_text(path, json.dumps(header, ensure_ascii=False, allow_nan=False) + "\n" + rest)


def _record(line: dict[str, Any]) -> Record:
    return Record(**{**line, "images": tuple(line["images"]), "kinds": tuple(line["kinds"])})


def read_logs(folder: Path) -> list[EvaluationLog]:
    """Read every evaluation log below `folder`, in the order of their paths."""
    return [read_log(path) for path in sorted(folder.rglob("*.eval.jsonl"))]


def mean_score(records: Sequence[Record], metric: str) -> tuple[float, int]:
    """Return the mean of `metric` over the records that have it, and how many those are (NaN, 0 for none)."""
    values = [record.scores[metric] for record in records if metric in record.scores]
    return (sum(values) / len(values), len(values)) if values else (float("nan"), 0)
