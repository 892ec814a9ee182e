"""Reads a data set's files row by row, checks every row, and keeps what could not be used."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medpref.errors import InputError
from medpref.pairs.check import faults
from medpref.pairs.fields import RowError
from medpref.pairs.pair import Pair
from medpref.pairs.sources.base import Advance
from medpref.pairs.sources.pictures import IMAGE_CHECKS, Pictures
from medpref.pairs.sources.records import Record, writable
from medpref.pairs.sources.rows import Entry, LeftOutError, Part, Row
from medpref.pairs.store import PairFile, Quarantined


@dataclass
class Reader:
    """Reads files, checks every row, and keeps what could not be used.

    Attributes:
        settings: the source's.
        pictures: finds the images.
        fatal: raise on the first row with a fault.
        advance: called for every record.
        verify: how images are checked, or None for not at all.
    """

    settings: Any
    pictures: Pictures
    fatal: bool
    advance: Advance
    verify: str | None
    _aside: dict[Path, list[Quarantined]] = field(default_factory=dict)
    _left_out: Counter[str] = field(default_factory=Counter)

    def read(self, parts: Iterable[Part]) -> list[Row]:
        """Return the sound rows of files whose ids must differ. Raises `InputError` where `fatal`."""
        rows: list[Row] = []
        seen: dict[str, Record] = {}
        counts: Counter[str] = Counter()
        most = self.settings.max_rows or float("inf")
        for part in parts:
            self._aside.setdefault(part.path, [])
            for record in part.read():
                if part.split is not None and counts[part.split] >= most:
                    break
                self.advance(1)
                for row in self._rows(part, record, seen):
                    if counts[row.split] < most:
                        counts[row.split] += 1
                        rows.append(row)
        return rows

    def _rows(self, part: Part, record: Record, seen: dict[str, Record]) -> Iterator[Row]:
        if record.fault:
            self._put_aside(record, None, record.fault)
            return
        try:
            rows = list(part.parse(Entry(record, part.split, self.settings, self.pictures)))
        except LeftOutError as reason:
            self._left_out[str(reason)] += 1
            return
        except KeyError as error:
            self._put_aside(record, None, f"there is no {error}")
            return
        except (RowError, ValueError, AttributeError, TypeError) as error:
            self._put_aside(record, None, str(error))
            return
        for row in rows:
            reasons = [*self._faults(row.pair)]
            first = seen.setdefault(row.pair.id, record)
            if first is not record:
                where = (
                    f"line {first.line}" if first.file == record.file else f"{first.file.name}, {first.line}"
                )
                reasons.insert(0, f"the id is taken: by {where}")
            if reasons:
                self._put_aside(record, row.pair.id, "; ".join(reasons))
            else:
                yield row

    def _faults(self, pair: Pair) -> Iterator[str]:
        yield from faults(pair, verify_images=False)
        if self.verify is None:
            return
        regions = [pair.region] if pair.region else []
        for path in (*(path for paths in pair.images.values() for path in paths), *regions):
            fault = IMAGE_CHECKS[self.verify](path)
            if fault:
                yield f"{fault}: {path}"

    def _put_aside(self, record: Record, ident: str | None, reason: str) -> None:
        if self.fatal:
            raise InputError(
                reason,
                where=f"{record.file}, line {record.line}" + (f", pair {ident}" if ident else ""),
                remedy="Repair the row, or set on_bad_row: quarantine to go on without it.",
            )
        self._aside.setdefault(record.file, []).append(
            Quarantined(record.line, ident and writable(ident), writable(reason), record.shown())
        )

    def files(self) -> tuple[PairFile, ...]:
        """Return the rows that were put aside, by file."""
        return tuple(PairFile(path, (), tuple(rows)) for path, rows in self._aside.items())

    def notes(self) -> list[str]:
        """Return what is to be said of rows that the settings leave out."""
        return [f"{count:,} rows are left out: {reason}." for reason, count in self._left_out.items()]
