"""The rows of CSV, TSV, JSON, JSON Lines and Parquet files, one at a time and never held whole."""

import csv
import gzip
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from medpref.errors import InputError, did_you_mean
from medpref.pairs.store import decode_lines

CHUNK = 1 << 20
"""Characters of a JSON array that are read at once."""
BATCH = 64
"""Rows of a Parquet file that are decoded at once; each may hold an image."""
DELIMITERS = "\t;|,"
SHOWN = 2000

_BLANK = re.compile(r"[\s,]*")
_BYTES_LEFT = re.compile("[\udc80-\udcff]")
PICKLES = (".pkl", ".pickle")


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a file, as it stands there.

    Attributes:
        file: the file.
        line: the line it begins on, or its number in an array or a Parquet file; from 1.
        values: the row, which is no mapping in a broken file.
        fault: why the row cannot be read, or None.
    """

    file: Path
    line: int
    values: Any
    fault: str | None = None

    def shown(self) -> str:
        """Return the row as text for the quarantine file: without embedded images, and not too long."""
        text = (
            self.values
            if isinstance(self.values, str)
            else json.dumps(_without_bytes(self.values), ensure_ascii=False)
        )
        return writable(text)[:SHOWN]


def writable(text: str) -> str:
    """Return a text that UTF-8 can hold, with a question mark for each half of a character."""
    return text.encode("utf-8", "replace").decode()


def read_records(
    path: Path, *, encoding: str = "utf-8-sig", delimiter: str | None = None, key: str | None = None
) -> Iterator[Record]:
    """Yield the rows of a file; ``.gz`` behind the ending is unpacked on the way.

    Args:
        path: the file; its ending tells what it is. A ``.json`` file may hold an array, one object a line, or
            an object of arrays.
        encoding: of text files. A row with bytes of another encoding gets a fault.
        delimiter: of the columns; found in the first line where not given.
        key: the array to read where a JSON file holds several, by name.

    Raises:
        InputError: the file is missing, of an unknown kind, or broken as a whole.
    """
    if not path.is_file():
        raise InputError("there is no such file", where=str(path), remedy="Check the path in the study.")
    suffix = ending(path)
    if suffix in PICKLES:
        raise InputError(
            "this is a pickle, which can run any program when it is opened, and is not read",
            where=str(path),
            remedy="Use the data set's Parquet files, or write the rows as JSON Lines.",
        )
    if suffix not in READERS:
        raise InputError(
            f"files that end in {suffix or 'nothing'} are not read",
            where=str(path),
            remedy=did_you_mean(suffix, READERS),
        )
    for record in READERS[suffix](path, Text(encoding, delimiter, key)):
        yield record if record.fault or not _has_foreign_bytes(record.values) else _foreign(record, encoding)


def ending(path: Path) -> str:
    """Return a file's ending in lower case, such as ``.csv``, without that of its compression."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


@dataclass(frozen=True, slots=True)
class Text:
    """How text files are read: see `read_records`."""

    encoding: str
    delimiter: str | None
    key: str | None


def is_nothing(value: Any) -> bool:
    """Tell whether a cell is empty: None, not a number, or blanks alone."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and not value.strip())
    )


@contextmanager
def _opened(path: Path, encoding: str) -> Iterator[TextIO]:
    """Open a text file; bytes of another encoding become lone surrogates, which the row is known by."""
    opener: Callable[..., TextIO] = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rt", encoding=encoding, errors="surrogateescape", newline="") as file:
            yield file
    except LookupError:
        raise InputError(f"there is no encoding called {encoding!r}", where=str(path)) from None
    except (UnicodeError, gzip.BadGzipFile, EOFError) as error:
        raise InputError(f"the file cannot be read as {encoding} text: {error}", where=str(path)) from None


def _table(path: Path, text: Text) -> Iterator[Record]:
    """Yield the rows of a table by column; a row of another length gets a fault."""
    with _opened(path, text.encoding) as file:
        first = file.readline()
        file.seek(0)
        delimiter = text.delimiter or max(DELIMITERS, key=first.count)
        rows = csv.reader(file, delimiter=delimiter)
        try:
            header = [name.strip() for name in next(rows, [])]
            _check_header(header, path)
            line = rows.line_num + 1
            for cells in rows:
                if cells:
                    yield _by_column(path, line, header, cells)
                line = rows.line_num + 1
        except csv.Error as error:
            raise InputError(f"the table is broken: {error}", where=f"{path}, line {rows.line_num}") from None


def _check_header(header: list[str], path: Path) -> None:
    twice = {name for name in header if header.count(name) > 1 and name}
    if not header or twice:
        what = f"two columns are called {min(twice)!r}" if twice else "the file is empty"
        raise InputError(what, where=str(path))


def _by_column(path: Path, line: int, header: list[str], cells: list[str]) -> Record:
    if len(cells) != len(header):
        return Record(
            path, line, " | ".join(cells), f"the row has {len(cells)} cells for {len(header)} columns"
        )
    return Record(path, line, dict(zip(header, cells, strict=True)))


def _json(path: Path, text: Text) -> Iterator[Record]:
    with _opened(path, text.encoding) as file:
        start = file.read(CHUNK)
        opening = start.lstrip("\ufeff \t\r\n")[:1]
        file.seek(0)
        if opening == "[":
            yield from _array(path, file)
        elif text.key is not None:
            yield from _named_array(path, file, text.key)
        else:
            yield from _json_lines(path, file)


def _array(path: Path, file: TextIO) -> Iterator[Record]:
    """Yield the elements of a JSON array without holding the whole of it."""
    decoder = json.JSONDecoder()
    buffer, at, number, amount = file.read(CHUNK), 0, 0, CHUNK
    at = buffer.index("[") + 1
    while True:
        at = _end_of_blanks(buffer, at)
        if buffer[at : at + 1] == "]":
            return
        try:
            value, at = decoder.raw_decode(buffer, at)
        except json.JSONDecodeError as error:
            more = file.read(amount)
            if not more:
                raise InputError(
                    f"the JSON array is broken, perhaps cut short: {error.msg} in entry {number + 1}",
                    where=str(path),
                ) from None
            # Ever more at once: a broken entry in a large file must not be tried again a thousand times.
            buffer, at, amount = buffer[at:] + more, 0, amount * 2
            continue
        number, amount = number + 1, CHUNK
        yield Record(path, number, value, None if isinstance(value, Mapping) else "the entry is no object")


def _end_of_blanks(buffer: str, at: int) -> int:
    found = _BLANK.match(buffer, at)
    return found.end() if found else at


def _named_array(path: Path, file: TextIO, key: str) -> Iterator[Record]:
    try:
        content = json.load(file)
    except json.JSONDecodeError as error:
        raise InputError(f"this is no valid JSON: {error}", where=str(path)) from None
    if not isinstance(content, Mapping) or not isinstance(content.get(key, []), list):
        raise InputError(f"the file has no list called {key!r}", where=str(path))
    for number, value in enumerate(content.get(key, []), start=1):
        yield Record(path, number, value, None if isinstance(value, Mapping) else "the entry is no object")


def _json_lines(path: Path, file: TextIO) -> Iterator[Record]:
    for number, value, fault in decode_lines(file):
        if fault is None and not isinstance(value, Mapping):
            fault = "the line is no object"
        yield Record(path, number, value, fault)


def _parquet(path: Path, text: Text) -> Iterator[Record]:
    try:
        number = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                for values in batch.to_pylist():
                    number += 1
                    yield Record(path, number, values)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"the file is no readable Parquet: {error}", where=str(path)) from None


READERS: dict[str, Callable[[Path, Text], Iterator[Record]]] = {
    ".csv": _table,
    ".tsv": _table,
    ".txt": _table,
    ".json": _json,
    ".jsonl": _json,
    ".ndjson": _json,
    ".parquet": _parquet,
}


def _has_foreign_bytes(value: Any) -> bool:
    if isinstance(value, str):
        return _BYTES_LEFT.search(value) is not None
    if isinstance(value, Mapping):
        return any(map(_has_foreign_bytes, value.values()))
    return isinstance(value, list) and any(map(_has_foreign_bytes, value))


def _foreign(record: Record, encoding: str) -> Record:
    return Record(
        record.file, record.line, record.values, f"the row is no {encoding.removesuffix('-sig')} text"
    )


def _without_bytes(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, Mapping):
        return {str(key): _without_bytes(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_bytes(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def count_records(path: Path) -> int | None:
    """Return about how many rows a file has; None where only reading it tells."""
    suffix = ending(path)
    if suffix == ".parquet":
        return int(pq.read_metadata(path).num_rows)
    if suffix not in (".csv", ".tsv", ".jsonl", ".ndjson") or path.name.lower().endswith(".gz"):
        return None
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(CHUNK), b""))
