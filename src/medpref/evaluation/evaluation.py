"""An evaluation outside a study: one task, any number of models or files of answers, one folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medpref.errors import InputError
from medpref.evaluation.asked import read_asked
from medpref.evaluation.baselines import BASELINES
from medpref.evaluation.likelihood import ChoiceScores
from medpref.evaluation.log import EvaluationLog, LogHeader, Record, read_logs
from medpref.evaluation.predict import log_baseline, make_log
from medpref.evaluation.results import build_results
from medpref.evaluation.tasks import Task, headlines, named_slices
from medpref.files import relative_to, write_json
from medpref.pairs.sample import Sample
from medpref.pairs.sources import sources
from medpref.pairs.store import Quarantined

TRAIN, TEST = "train", "test"
NO_ANSWER = "there is no answer"


@dataclass(frozen=True, slots=True)
class AskedData:
    """The samples of a task.

    Attributes:
        test: what is asked.
        train: what baselines know; empty where there is none.
        facts: what is told of the data.
        quarantined: the rows that cannot be asked.
    """

    test: tuple[Sample, ...]
    train: tuple[Sample, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    quarantined: tuple[Quarantined, ...] = ()


def read_file(path: Path, *, images: Path | None = None, shown: bool = True) -> AskedData:
    """Read a user's own file. Arguments and errors are those of `read_asked`."""
    file = read_asked(path, images=images, shown=shown)
    facts = {"source": path.name, "licence": "not stated", "notes": []}
    return AskedData(file.samples, facts=facts, quarantined=file.quarantined)


def read_source(
    task: Task,
    name: str,
    settings: Mapping[str, Any],
    folder: Path,
    *,
    split: str = TEST,
    advance: Callable[[int], None] = lambda _: None,
) -> AskedData:
    """Read a task's samples with a data source.

    Args:
        task: whose samples.
        name: the source.
        settings: of the source.
        folder: where images that the source draws or unpacks go.
        split: which split is asked.
        advance: called with the number of rows read.

    Raises:
        InputError: the source cannot be read, or has no such samples.
    """
    source = sources[name]
    data = source.load(source.settings.model_validate(settings), folder, False, advance)
    names = [key for key in (task.name, *source.tasks) if (split, key) in data.samples]
    if not names:
        found = ", ".join(f"{key} ({part})" for part, key in data.samples) or "nothing"
        raise InputError(f"the data has no {split} split for {task.name}; it has {found}", where=name)
    used = names[0]
    return AskedData(
        tuple(data.samples[split, used]),
        tuple(data.samples.get((TRAIN, used), ())),
        {**data.facts, "counts": data.counts(), "leakage": data.leakage()},
        tuple(row for file in data.quarantined for row in file.quarantined),
    )


def header(task: Task, folder: Path, name: str, condition: str, split: str, **said: Any) -> LogHeader:
    """Return a log's header; all methods of a folder are of one backbone, so that they are compared."""
    return LogHeader(folder.name, "models", name, 0, task.name, task.version, condition, split, **said)


def log_known(
    task: Task,
    about: LogHeader,
    samples: Sequence[Sample],
    answers: Mapping[str, str],
    root: Path,
    *,
    reasons: Mapping[str, str] | None = None,
    choices: Sequence[ChoiceScores] | None = None,
) -> EvaluationLog:
    """Return the log of the answers that are known; a sample without one is unscored, and no zero.

    Args:
        task: whose samples.
        about: the log's header.
        samples: all of them.
        answers: by the sample's id.
        root: image files are told relative to it.
        reasons: why samples have no answer, as far as that is known.
        choices: the scores by likelihood of the samples that have an answer, in step with them.
    """
    answered = [sample for sample in samples if sample.id in answers]
    log = make_log(about, task, answered, [answers[sample.id] for sample in answered], root, choices)
    scored = {record.id: record for record in log.records}
    why = reasons or {}
    records = (scored.get(s.id) or _missing(s, why.get(s.id, NO_ANSWER), root) for s in samples)
    return EvaluationLog(about, tuple(records))


def _missing(sample: Sample, reason: str, root: Path) -> Record:
    return Record(
        id=sample.id,
        prompt=sample.prompt,
        images=tuple(relative_to(path, root) for path in sample.images),
        cluster=sample.cluster,
        prediction="",
        gold=sample.gold,
        kinds=sample.kinds,
        closed=sample.closed,
        scores={},
        unscored=reason,
        region=relative_to(sample.region, root) if sample.region else None,
        attributes=dict(sample.attributes),
    )


def write_baselines(task: Task, data: AskedData, split: str, folder: Path) -> None:
    """Write the logs of the answers that look at nothing, fitted to the training split where there is one."""
    about = header(task, folder, "", "normal", split)
    for name in BASELINES if data.train else ("yes-or-no",):
        log = log_baseline(name, about, task, data.train, data.test, folder)
        log.write(folder / "logs" / "baselines" / f"{task.name}.{name}.eval.jsonl")


def write_results(folder: Path, control: str | None) -> dict[str, Any]:
    """Compute and write ``results.json`` over all logs of a folder.

    Raises:
        InputError: the logs do not fit together, or `control` has none.
    """
    logs = read_logs(folder / "logs")
    methods = {log.header.method for log in logs}
    if control is not None and control not in methods:
        known = ", ".join(sorted(name for name in methods if not name.startswith("baseline:")))
        raise InputError(f"{control!r} has no log here", where=str(folder), remedy=f"There are {known}.")
    names = sorted({log.header.task for log in logs})
    headline, slices = headlines(names), named_slices(names)
    results = build_results(
        logs, study=folder.name, controls=[control] if control else [], headline=headline, slices=slices
    )
    write_json(folder / "results.json", results)
    write_json(folder / "run.json", {"study": {"study": folder.name}, "headline": headline, "slices": slices})
    return results


def against_published(task: Task, data: AskedData) -> str | None:
    """Return a sentence where the rows that are asked are not those of the published split, or None."""
    if task.published is None or len(data.test) == task.published:
        return None
    return (
        f"{task.name} has {task.published:,} published test rows, these are {len(data.test):,}: "
        "the scores cannot be compared with published ones."
    )
