"""A user's own file of questions with their answers, as samples to be asked or scored."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from medpref.errors import InputError
from medpref.pairs.check import cached_image_fault
from medpref.pairs.fields import RowError, read_text
from medpref.pairs.formats import parse_row
from medpref.pairs.pair import IMAGE_PLACEHOLDER, ImageRole, Pair, ResponseRole
from medpref.pairs.sample import Sample
from medpref.pairs.sources.questions import is_yes_or_no, kinds_of
from medpref.pairs.sources.records import Record, read_records
from medpref.pairs.store import Quarantined

GOLDS = ("gold", "reference", "ground_truth")
"""What the right answer is called besides the names of `medpref.pairs.formats`."""


class AskedFile(NamedTuple):
    """The sound samples of a file in order, and the rows that cannot be asked or scored."""

    samples: tuple[Sample, ...]
    quarantined: tuple[Quarantined, ...]


def read_asked(path: Path, *, images: Path | None = None, shown: bool = True) -> AskedFile:
    """Read questions with their answers: JSON Lines, a JSON array, CSV, TSV or Parquet.

    A row has any shape of `medpref.pairs.formats`, or the keys of `medpref.pairs.sample.Sample`, and may
    carry ``kinds`` or ``kind``, ``closed`` or ``answer_type``, ``choices``, ``cluster`` or ``patient``,
    ``region`` and ``attributes``. Kinds that it does not carry are told by the question's words.

    Args:
        path: the file.
        images: the folder that relative image paths start from; the file's own folder where not given.
        shown: whether images will be shown; where answers are only scored they need not be there.

    Raises:
        InputError: the file is missing, cannot be read at all or holds no sound row.
    """
    samples: dict[str, Sample] = {}
    aside: list[Quarantined] = []
    for record in read_records(path):
        try:
            sample = _sample(record, images or path.parent)
            _check(sample, samples, shown)
            samples[sample.id] = sample
        except (RowError, ValueError, TypeError, AttributeError) as error:
            ident = str(record.values["id"]) if _has_id(record.values) else None
            aside.append(Quarantined(record.line, ident, str(error), record.shown()))
    if not samples:
        first = f"; the first row's fault: {aside[0].reason}" if aside else ""
        where = f"{path}, line {aside[0].line}" if aside else str(path)
        raise InputError(f"this file holds no question with an answer{first}", where=where)
    return AskedFile(tuple(samples.values()), tuple(aside))


def _has_id(values: Any) -> bool:
    return isinstance(values, Mapping) and values.get("id") is not None


def _sample(record: Record, root: Path) -> Sample:
    """Return a row's sample. Raises `RowError` for a row of another shape."""
    if record.fault:
        raise RowError(record.fault)
    if not isinstance(record.values, Mapping):
        raise RowError("the row is no object")
    # Cells of a table that are empty say nothing.
    row = {key: value for key, value in record.values.items() if value is not None and value != ""}
    pair = parse_row(_known(row), root, f"line-{record.line}")
    question = pair.prompt.replace(IMAGE_PLACEHOLDER, "").strip()
    gold = pair.responses.get(ResponseRole.CHOSEN, "")
    choices = _texts(row.get("choices"))
    sample = Sample(
        id=pair.id,
        prompt=pair.prompt,
        images=pair.images.get(ImageRole.CLEAN, ()),
        gold=gold,
        kinds=_kinds(row, pair, question),
        closed=_closed(row, gold, choices),
        choices=choices,
        cluster=str(row.get("cluster", row.get("patient", ""))) or pair.image_key or pair.id,
        region=pair.region or (root / str(row["region"]) if "region" in row else None),
        history=pair.history,
    )
    said = row.get("attributes")
    if isinstance(said, Mapping):
        sample = replace(sample, attributes={str(key): str(value) for key, value in said.items()})
    return sample


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row under keys that `parse_row` knows."""
    known = dict(row)
    gold = next((known.pop(key) for key in GOLDS if key in known), None)
    if gold is not None and "answer" not in known:
        known["answer"] = gold
    if gold is not None and "question" not in known and isinstance(known.get("prompt"), str):
        known["question"] = known.pop("prompt")
    if "images" in known and "question" in known:
        known["image"] = known.pop("images")
    return known


def _kinds(row: Mapping[str, Any], pair: Pair, question: str) -> tuple[str, ...]:
    said = _texts(row.get("kinds"))
    return said or ((pair.kind,) if pair.kind else kinds_of(question))


def _texts(value: Any) -> tuple[str, ...]:
    """Return a list of texts, or a text with semicolons between them."""
    if value is None:
        return ()
    items: Sequence[Any] = value.split(";") if isinstance(value, str) else list(value)
    return tuple(text for item in items if (text := read_text(item, "choices and kinds").strip()))


def _closed(row: Mapping[str, Any], gold: str, choices: tuple[str, ...]) -> bool:
    said = str(row.get("closed", row.get("answer_type", ""))).strip().lower()
    if said in ("closed", "true", "yes", "1"):
        return True
    if said in ("open", "false", "no", "0"):
        return False
    return bool(choices) or is_yes_or_no(gold)


def _check(sample: Sample, seen: Mapping[str, Sample], shown: bool) -> None:
    """Raise `RowError` for what cannot be asked or scored."""
    if sample.id in seen:
        raise RowError("the id is that of an earlier row")
    if not sample.gold.strip():
        raise RowError("the right answer is empty")
    if not sample.prompt.replace(IMAGE_PLACEHOLDER, "").strip():
        raise RowError("the question is empty")
    if shown:
        fault = next((fault for image in sample.images if (fault := cached_image_fault(image))), None)
        if fault:
            raise RowError(fault)
