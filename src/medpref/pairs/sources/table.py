"""Any table of questions: CSV, TSV, JSON, JSON Lines or Parquet, with its columns named in the settings."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medpref.errors import InputError, did_you_mean
from medpref.files import UserPath
from medpref.pairs.fields import RowError, read_weight
from medpref.pairs.pair import Provenance
from medpref.pairs.sources.questions import pair_parts, question_row, text_of
from medpref.pairs.sources.reading import Reading, register
from medpref.pairs.sources.records import Record, ending, is_nothing, read_records
from medpref.pairs.sources.rows import Entry, Part, ReadSettings, Row
from medpref.pairs.sources.splits import split_name

WITH_COLUMNS = (".csv", ".tsv", ".txt", ".parquet")
CLOSED = {"closed": True, "true": True, "yes": True, "1": True}


class Fields(BaseModel):
    """What the columns are called. Columns that are not named here are not read.

    Attributes:
        question, answer: texts; both are needed.
        image: one column of paths, or several; a cell may hold a list, or the bytes of a file.
        id: unique; the place in the file where not given.
        split: such as ``train`` or ``val``, where one file holds all splits.
        kind: the question kind; by the question's words where not given.
        rejected: a wrong answer.
        choices: the closed set of answers, a list or a text with separators.
        closed: ``closed``, ``yes``, ``true`` or ``1`` for a closed question.
        weight: of the pair, a number from 0.
        region: the path of a mask.
        patient: whom the images show: intervals are clustered by it, and new splits keep it whole.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str = "question"
    answer: str = "answer"
    image: str | tuple[str, ...] = "image"
    id: str | None = None
    split: str | None = None
    kind: str | None = None
    rejected: str | None = None
    choices: str | None = None
    closed: str | None = None
    weight: str | None = None
    region: str | None = None
    patient: str | None = None

    def columns(self) -> list[str]:
        """Return every column that is named."""
        named = [self.image] if isinstance(self.image, str) else [*self.image]
        others = self.model_dump(exclude={"image"}).values()
        return [*named, *(name for name in others if name is not None)]


class TableSettings(ReadSettings):
    """Where the files are and what their columns mean.

    Attributes:
        file: one file of all splits, by the column `fields.split` or drawn by ``split: image-disjoint``.
        train, validation, test: one file for each split.
        fields: what the columns are called.
        splits: what the split column says, such as ``{Entwicklung: validation}``, beside the usual names.
        images: the folder that image paths start from; the first file's folder where not given.
        encoding: of text files, such as ``latin-1`` or ``utf-16``.
        delimiter: of the columns; found in the first line where not given.
        separator: between the paths or choices of one cell.
        key: the list to read where a JSON file holds several.
        licence: told in the report and kept with every pair.
    """

    file: UserPath | None = None
    train: UserPath | None = None
    validation: UserPath | None = None
    test: UserPath | None = None
    fields: Fields = Fields()
    splits: Mapping[str, str] = Field(default_factory=dict)
    images: UserPath | None = None
    encoding: str = "utf-8-sig"
    delimiter: str | None = Field(None, min_length=1, max_length=1)
    separator: str = Field(";", min_length=1)
    key: str | None = None
    licence: str = "not stated"

    @model_validator(mode="after")
    def _one_way(self) -> "TableSettings":
        if self.file is None and not (self.train or self.validation or self.test):
            raise ValueError("name either file, or train with validation and test, or test alone")
        if self.file is not None and self.train is not None:
            raise ValueError("name either file, or train with validation and test")
        if self.file is not None and (self.validation or self.test):
            raise ValueError("file holds all splits: validation and test go with train")
        if self.file is not None and self.split == "official" and self.fields.split is None:
            raise ValueError("file needs fields.split, or split: image-disjoint")
        return self


def parts(settings: TableSettings) -> Sequence[Part]:
    """Return the files that the settings name."""
    named: dict[str | None, Path | None] = {
        None: settings.file,
        "train": settings.train,
        "validation": settings.validation,
        "test": settings.test,
    }
    read = partial(_records, settings=settings)
    return [Part(path, split, parse, records=read) for split, path in named.items() if path is not None]


def _records(path: Path, settings: TableSettings) -> Iterator[Record]:
    """Yield the rows. Raises `InputError` where a table has no column of a name in the settings."""
    rows = read_records(path, encoding=settings.encoding, delimiter=settings.delimiter, key=settings.key)
    checked = ending(path) not in WITH_COLUMNS
    for record in rows:
        if not checked and not record.fault:
            _check_columns(record, settings.fields)
            checked = True
        yield record


def _check_columns(record: Record, fields: Fields) -> None:
    for name in fields.columns():
        if name not in record.values:
            raise InputError(
                f"there is no column {name!r}",
                where=str(record.file),
                remedy=did_you_mean(name, record.values),
            )


def parse(entry: Entry) -> Iterator[Row]:
    """Read a row. Raises as `Parse` says."""
    values, settings = entry.values, entry.settings
    fields: Fields = settings.fields
    region = entry.pictures.find(_cell(values, fields.region))
    kind = _text(values, fields.kind)
    closed = _text(values, fields.closed)
    choices = _several(_cell(values, fields.choices), settings.separator)
    yield question_row(
        entry,
        Provenance(entry.record.file.name, licence=settings.licence),
        _ident(entry, fields),
        text_of(values, fields.question),
        text_of(values, fields.answer),
        _images(entry, fields),
        split=_split(entry, fields),
        kinds=(kind.lower(),) if kind else None,
        closed=CLOSED.get(closed.lower(), False) if closed else (True if choices else None),
        choices=tuple(choices),
        rejected=_text(values, fields.rejected),
        weight=read_weight(_text(values, fields.weight)),
        region=region[0] if region else None,
        patient=_text(values, fields.patient),
    )


def _ident(entry: Entry, fields: Fields) -> str:
    ident = _text(entry.values, fields.id)
    place = f"{entry.split or 'row'}-{entry.record.line}"
    if fields.id is not None and ident is None:
        raise RowError("the id is empty")
    return ident or place


def _split(entry: Entry, fields: Fields) -> str | None:
    if entry.split is not None or fields.split is None:
        return entry.split
    said = _text(entry.values, fields.split) or ""
    return split_name(entry.settings.splits.get(said, said))


def _images(entry: Entry, fields: Fields) -> list[Path]:
    names = [fields.image] if isinstance(fields.image, str) else fields.image
    cells = (_cell(entry.values, name) for name in names)
    items = (item for cell in cells for item in _several(cell, entry.settings.separator))
    return [path for item in items for path in entry.pictures.find(item)]


def _several(cell: Any, separator: str) -> list[Any]:
    """Return the parts of a cell: of a list its entries, of a text what stands between separators."""
    if is_nothing(cell):
        return []
    if isinstance(cell, str):
        return [part.strip() for part in cell.split(separator) if part.strip()]
    return list(cell) if isinstance(cell, list | tuple) else [cell]


def _cell(values: Mapping[str, Any], name: str | None) -> Any:
    return None if name is None else values.get(name)


def _text(values: Mapping[str, Any], name: str | None) -> str | None:
    cell = _cell(values, name)
    return None if name is None or is_nothing(cell) else text_of(values, name)


def _roots(settings: TableSettings) -> list[Path]:
    named = settings.file or settings.train
    return [settings.images or named.parent] if named is not None else []


READING = Reading(
    name="your own table",
    licence="not stated",
    parts=parts,
    roots=_roots,
    pool=lambda settings: pair_parts(settings, Provenance(str(settings.pairs), licence=settings.licence)),
)
register(
    "table", "your own CSV, TSV, JSON, JSON Lines or Parquet, with its columns named", TableSettings, READING
)
