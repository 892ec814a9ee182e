"""Read and write pair files; rows that fail a check go to quarantine, counted and named."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medpref.errors import InputError
from medpref.files import disk_errors, write_jsonl
from medpref.pairs.check import faults
from medpref.pairs.fields import RowError
from medpref.pairs.formats import parse_row
from medpref.pairs.pair import Pair


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row that was not used: its line (from 1), its id as far as it is known, and why."""

    line: int
    id: str | None
    reason: str
    row: str


@dataclass(frozen=True, slots=True)
class PairFile:
    """What a pair file held: the sound pairs in order, and the rows that were not used."""

    path: Path
    pairs: tuple[Pair, ...]
    quarantined: tuple[Quarantined, ...]

    def summary(self) -> str:
        """Return one line that counts what was read and, by reason, what was not."""
        text = f"{self.path.name}: {len(self.pairs)} pairs"
        if not self.quarantined:
            return text
        reasons = Counter(row.reason.split(":")[0] for row in self.quarantined)
        listed = ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common())
        return f"{text}, {len(self.quarantined)} quarantined ({listed})"

    def write_quarantine(self, path: Path) -> None:
        """Write the unused rows with line and reason as JSONL."""
        write_jsonl(
            path, [{"line": q.line, "id": q.id, "reason": q.reason, "row": q.row} for q in self.quarantined]
        )


def read_pairs(
    path: Path, *, images: Path | None = None, fatal: bool = False, verify_images: bool = True
) -> PairFile:
    """Read a JSONL, JSON-array or Parquet file of any shape in `medpref.pairs.formats`.

    Args:
        path: the file.
        images: the folder that relative image paths start from; the file's own folder where not given.
        fatal: raise on the first row that fails instead of putting it aside.
        verify_images: decode every image once; off only for files that were checked when they were made.

    Raises:
        InputError: the file is missing or cannot be read at all, or `fatal` and a row fails.
    """
    if not path.is_file():
        raise InputError("there is no such pair file", where=str(path), remedy="Check the path in the study.")
    root = images or path.parent
    pairs: list[Pair] = []
    quarantined: list[Quarantined] = []
    seen: dict[str, int] = {}
    for line, row, fault in _rows(path):
        pair, reason = (None, fault) if fault else _pair(row, root, line, seen, verify_images)
        if pair is not None:
            pairs.append(pair)
            continue
        ident = str(row["id"]) if isinstance(row, dict) and "id" in row else None
        if fatal:
            raise InputError(
                str(reason),
                where=f"{path}, line {line}" + (f", pair {ident}" if ident else ""),
                remedy="Repair the row, or set on_bad_row: quarantine to go on without it.",
            )
        text = row if isinstance(row, str) else json.dumps(row, ensure_ascii=False, default=str)
        quarantined.append(Quarantined(line, ident, str(reason), text[:2000]))
    return PairFile(path, tuple(pairs), tuple(quarantined))


def _pair(
    row: Any, root: Path, line: int, seen: dict[str, int], verify_images: bool
) -> tuple[Pair | None, str | None]:
    try:
        pair = parse_row(row, root, fallback_id=f"line-{line}")
    except (RowError, ValueError, AttributeError, TypeError) as error:
        return None, str(error)
    reasons = list(faults(pair, verify_images=verify_images))
    if pair.id in seen:
        reasons.insert(0, f"the id is that of line {seen[pair.id]}")
    else:
        seen[pair.id] = line
    return (None, "; ".join(reasons)) if reasons else (pair, None)


def _rows(path: Path) -> Iterator[tuple[int, Any, str | None]]:
    """Yield (line or row number, row, fault); a line that is no JSON comes as text with its fault."""
    if path.suffix == ".parquet":
        yield from ((number, row, None) for number, row in enumerate(_parquet_rows(path), start=1))
        return
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"the file is no UTF-8 text ({error.reason})", where=str(path)) from None
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"the JSON array is broken: {error}", where=str(path)) from None
        yield from ((number, row, None) for number, row in enumerate(rows, start=1))
        return
    yield from decode_lines(text.split("\n"))


def decode_lines(lines: Iterable[str]) -> Iterator[tuple[int, Any, str | None]]:
    """Yield (line number from 1, row, fault); a line that is no JSON comes as text with its fault."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line), None
        except json.JSONDecodeError as error:
            yield (
                number,
                line,
                f"the line is no JSON, perhaps cut short ({error.msg} at column {error.colno})",
            )


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    try:
        return list(pq.read_table(path).to_pylist())
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"the file is no readable Parquet: {error}", where=str(path)) from None


_ROLES = ("clean", "rejected")
CHANGE = pa.struct(
    [
        ("error", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("was", pa.string()),
        ("now", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", pa.string()),
        ("images", pa.struct([(role, pa.list_(pa.string())) for role in _ROLES])),
        ("responses", pa.struct([(role, pa.string()) for role in ("chosen", "rejected")])),
        ("weight", pa.float64()),
        ("kind", pa.string()),
        ("region", pa.string()),
        (
            "provenance",
            pa.struct(
                [
                    ("source", pa.string()),
                    ("recipe", pa.string()),
                    ("seed", pa.int64()),
                    ("licence", pa.string()),
                ]
            ),
        ),
        ("history", pa.list_(pa.list_(pa.string()))),
        ("changes", pa.list_(CHANGE)),
    ]
)
"""The columns of a pair file in Parquet: given, not guessed, so that text-only pairs have them too."""


def write_pairs(path: Path, pairs: Iterable[Pair], within: Path | None = None) -> None:
    """Write pairs as JSONL, or as Parquet where the name ends so; images stay where they are, named by path.

    Args:
        path: the file.
        pairs: what goes into it.
        within: a folder that may be moved as a whole: what lies below it is named relative to the file.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    rows = [pair.to_row(path.parent, within) for pair in pairs]
    if path.suffix != ".parquet":
        write_jsonl(path, rows)
        return
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), temporary)
        temporary.replace(path)


def group_by_image(pairs: Sequence[Pair], largest: int) -> list[tuple[Pair, ...]]:
    """Put pairs on the same images together, in the order of first sight, at most `largest` to a group."""
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.image_key or pair.id, []).append(pair)
    return [
        tuple(group[start : start + largest])
        for group in groups.values()
        for start in range(0, len(group), largest)
    ]
