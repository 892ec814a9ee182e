"""Answers that were made elsewhere, matched to a task's samples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medpref.errors import InputError
from medpref.pairs.sample import Sample
from medpref.pairs.sources.records import read_records

IDS = ("id", "question_id", "qid", "sample_id")
TEXTS = ("prediction", "answer", "response", "text", "output", "generated")
"""What the answer may be called, the first that is there."""


class Given(NamedTuple):
    """What a file of predictions holds of a task.

    Attributes:
        answers: the answers in the samples' order; None where the file has none.
        unknown: the ids in the file that no sample has.
    """

    answers: tuple[str | None, ...]
    unknown: tuple[str, ...]


def read_predictions(path: Path, samples: Sequence[Sample]) -> Given:
    """Read the answers of a file: JSON Lines (of ``medpref generate`` too), a JSON array, CSV or TSV.

    A row names its sample by ``id``, ``question_id``, ``qid`` or ``sample_id``, and its answer by
    ``prediction``, ``answer``, ``response``, ``text``, ``output`` or ``generated``. An id is a sample's whole
    id, or the end of exactly one behind a hyphen: 17 is ``qid-17`` where there is no other ``…-17``.

    Raises:
        InputError: the file cannot be read, a row has another shape, a sample is answered twice, or no row
            answers a sample.
    """
    ends = _ends(samples)
    answers: dict[str, str] = {}
    unknown = []
    for record in read_records(path):
        where = f"{path}, line {record.line}"
        if record.fault:
            raise InputError(record.fault, where=where)
        if _is_header(record.values):
            continue
        ident, text = _read(record.values, where)
        sample = ends.get(ident)
        if sample is None:
            unknown.append(ident)
            continue
        if text is not None and answers.setdefault(sample, text) != text:
            raise InputError(f"the sample {sample} is answered twice, in other words", where=where)
    if not answers:
        example = f", such as {unknown[0]!r}" if unknown else ""
        raise InputError(
            f"none of the {len(unknown)} answers{example} is to a sample of the task",
            where=str(path),
            remedy=f"Samples have ids such as {samples[0].id!r}; --questions writes them all.",
        )
    return Given(tuple(answers.get(sample.id) for sample in samples), tuple(unknown))


def _ends(samples: Sequence[Sample]) -> dict[str, str]:
    """Return the samples' ids by themselves, and by what stands behind a hyphen where that is one's alone."""
    by_end: dict[str, set[str]] = {}
    for sample in samples:
        parts = sample.id.split("-")
        for start in range(1, len(parts)):
            by_end.setdefault("-".join(parts[start:]), set()).add(sample.id)
    alone = {end: next(iter(ids)) for end, ids in by_end.items() if len(ids) == 1}
    return alone | {sample.id: sample.id for sample in samples}


def _is_header(values: Any) -> bool:
    return isinstance(values, Mapping) and values.get("medpref") == "answers"


def _read(values: Any, where: str) -> tuple[str, str | None]:
    """Return a row's id and its answer, None where it says that there is none."""
    if not isinstance(values, Mapping):
        raise InputError("the row is no object", where=where)
    ident = next((values[key] for key in IDS if values.get(key) is not None), None)
    key = next((key for key in TEXTS if key in values), None)
    text = values[key] if key else None
    if ident is None or key is None or not isinstance(text, str | int | float | None):
        raise InputError(
            f"a row needs one of {', '.join(IDS)} and one of {', '.join(TEXTS)}",
            where=where,
            remedy=f"This one has {', '.join(map(str, values)) or 'nothing'}.",
        )
    return str(ident), None if text is None else str(text)
