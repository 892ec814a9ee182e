"""Files of questions: rows read, labelled with their kinds and written, other fields as they were."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from medpref.errors import InputError, did_you_mean
from medpref.files import write_json, write_jsonl, write_text
from medpref.pairs.kinds.classifier import Kind
from medpref.pairs.kinds.lists import KINDS
from medpref.pairs.store import Quarantined, decode_lines

Tell = Callable[[str, str | None], tuple[Kind, ...]]
"""What tells kinds: ``tell(question, answer)``, the most certain first."""

JOIN = "|"
"""Between kinds in a table's cell."""

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


class Row(NamedTuple):
    """A row of a file: its line or number (from 1), its content, and why it cannot be used, if so."""

    line: int
    content: Any
    fault: str | None


class Labelled(NamedTuple):
    """Rows with their kinds, in order, and those that were put aside."""

    rows: tuple[dict[str, Any], ...]
    kinds: tuple[tuple[Kind, ...], ...]
    quarantined: tuple[Quarantined, ...]

    @property
    def counts(self) -> Counter[str]:
        """How many questions have each kind as their surest."""
        return Counter(kinds[0].name for kinds in self.kinds)

    @property
    def mentions(self) -> Counter[str]:
        """How many questions have each kind at all."""
        return Counter(kind.name for kinds in self.kinds for kind in kinds)


def read_rows(path: Path) -> list[Row]:
    """Read JSONL, a JSON array, CSV or TSV.

    Raises:
        InputError: the file is missing, or cannot be read at all.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError("there is no such file", where=str(path)) from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise InputError("this is no UTF-8 text", where=str(path), remedy="Make it JSONL or CSV.") from None
    if path.suffix.lower() in _DELIMITERS:
        return list(_table_rows(text, _DELIMITERS[path.suffix.lower()]))
    if not text.lstrip().startswith("["):
        return [Row(*row) for row in decode_lines(text.split("\n"))]
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"the JSON array is broken: {error}", where=str(path)) from None
    return [Row(number, value, None) for number, value in enumerate(values, start=1)]


def _table_rows(text: str, delimiter: str) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    for row in reader:
        # DictReader puts what is too much under None, and None for what is missing.
        ragged = None in row or None in row.values()
        yield Row(reader.line_num, row, "the row has not as many cells as the header" if ragged else None)


def label(
    rows: Sequence[Row], tell: Tell, *, field: str, answer: str | None = None, prefix: str = ""
) -> Labelled:
    """Add ``kinds`` (names, the most certain first) and ``evidence`` (words by kind) to every row.

    Args:
        rows: what `read_rows` returned.
        tell: the classifier.
        field: the field that holds the question.
        answer: the field that holds the answer, where it may help; rows without it are told without.
        prefix: put before the names of the new fields.

    Raises:
        InputError: a row has a field of the new name.
    """
    done, told, quarantined = [], [], []
    for row in rows:
        reason = row.fault or _fault(row.content, field)
        if reason:
            quarantined.append(_aside(row, reason))
            continue
        _refuse_overwriting(row, prefix)
        said = row.content.get(answer) if answer else None
        kinds = tell(row.content[field], None if said is None else str(said))
        new = {"kinds": [kind.name for kind in kinds], "evidence": {k.name: list(k.words) for k in kinds}}
        done.append({**row.content, **{prefix + name: value for name, value in new.items()}})
        told.append(kinds)
    return Labelled(tuple(done), tuple(told), tuple(quarantined))


def _fault(content: Any, field: str) -> str | None:
    """Return why a row has no question, or None where it has one."""
    if not isinstance(content, dict):
        return f"the row is no object with fields but {type(content).__name__}"
    if field not in content:
        return f"there is no field {field!r}"
    if not isinstance(content[field], str):
        return f"{field!r} is no text but {type(content[field]).__name__}"
    return None if content[field].strip() else f"{field!r} is empty"


def _refuse_overwriting(row: Row, prefix: str) -> None:
    taken = [name for name in (f"{prefix}kinds", f"{prefix}evidence") if name in row.content]
    if taken:
        raise InputError(
            f"the row has a field {taken[0]!r} already",
            where=f"line {row.line}",
            remedy="Name the new fields otherwise with --prefix, such as --prefix told_",
        )


def _aside(row: Row, reason: str) -> Quarantined:
    ident = str(row.content["id"]) if isinstance(row.content, dict) and "id" in row.content else None
    text = row.content if isinstance(row.content, str) else json.dumps(row.content, ensure_ascii=False)
    return Quarantined(row.line, ident, reason, text[:2000])


def write_rows(path: Path, rows: Sequence[dict[str, Any]], prefix: str = "") -> None:
    """Write rows as JSONL, or as JSON array, CSV or TSV where the name ends so.

    In a table kinds are joined by ``|`` and the evidence is JSON.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        write_json(path, list(rows))
    elif suffix in _DELIMITERS:
        write_text(path, _table(rows, _DELIMITERS[suffix], prefix))
    else:
        write_jsonl(path, rows)


def _table(rows: Sequence[dict[str, Any]], delimiter: str, prefix: str) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, names, delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        joined = JOIN.join(row[f"{prefix}kinds"])
        cells = {**row, f"{prefix}kinds": joined}
        writer.writerow(
            {name: value if isinstance(value, str) else _json(value) for name, value in cells.items()}
        )
    return file.getvalue()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def write_quarantine(path: Path, quarantined: Sequence[Quarantined]) -> None:
    """Write the rows that were put aside, with line and reason, as JSONL. Raises `RunError` if it cannot."""
    write_jsonl(path, [asdict(row) for row in quarantined])


def read_examples(path: Path, *, field: str, kinds: str = "kinds") -> list[tuple[str, frozenset[str]]]:
    """Read questions with their kinds from a labelled file, to learn from.

    Args:
        path: JSONL, a JSON array, CSV or TSV.
        field: the field that holds the question.
        kinds: the field that holds the kinds: a list of names, or names joined by ``|``.

    Raises:
        InputError: the file cannot be read, or a row has no question or no known kind.
    """
    examples = []
    for row in read_rows(path):
        where = f"{path}, line {row.line}"
        reason = row.fault or _fault(row.content, field)
        if reason:
            raise InputError(reason, where=where)
        given = row.content.get(kinds)
        names = given.split(JOIN) if isinstance(given, str) else given
        if not isinstance(names, list) or not names:
            raise InputError(f"the field {kinds!r} does not hold the question's kinds", where=where)
        for name in names:
            if name not in KINDS:
                raise InputError(
                    f"there is no question kind called {name!r}",
                    where=where,
                    remedy=did_you_mean(str(name), KINDS),
                )
        examples.append((row.content[field], frozenset(names)))
    return examples
