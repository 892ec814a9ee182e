"""Tables as CSV (RFC 4180): numbers as the results have them, an interval in columns of its own."""

import csv
import io
from collections.abc import Callable, Mapping
from typing import Any

from medpref.report.sheets.sheet import Cell, Figure, Sheet

# What a figure has beside its value, by the ending of the column's title.
_PARTS: Mapping[str, Callable[[Figure], float | None]] = {
    " low": lambda figure: figure.low,
    " high": lambda figure: figure.high,
    " p": lambda figure: figure.p_value,
    " sd": lambda figure: figure.sd,
}
# A spreadsheet takes a cell that begins so for a formula (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_text(sheet: Sheet) -> str:
    """Return a table as CSV with a header; shares lie in [0, 1], what is not there is empty."""
    columns = [_expanded(sheet, number) for number in range(len(sheet.columns))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_safe(title) for column in columns for title, _ in column])
    for line in sheet.lines:
        cells = zip(line.cells, columns, strict=True)
        writer.writerow([read(cell) for cell, column in cells for _, read in column])
    return out.getvalue()


def _expanded(sheet: Sheet, number: int) -> list[tuple[str, Callable[[Cell], Any]]]:
    """Return the titles that one column becomes, each with what it holds of a cell."""
    title = sheet.columns[number]
    figures = [cell for line in sheet.lines if isinstance(cell := line.cells[number], Figure)]
    found: list[tuple[str, Callable[[Cell], Any]]] = [(title, _value)]
    for ending, read in _PARTS.items():
        if any(read(figure) is not None for figure in figures):
            found.append((title + ending, _part(read)))
    return found


def _value(cell: Cell) -> Any:
    if isinstance(cell, Figure):
        return cell.value
    return _safe(cell) if isinstance(cell, str) else cell


def _part(read: Callable[[Figure], float | None]) -> Callable[[Cell], Any]:
    return lambda cell: read(cell) if isinstance(cell, Figure) else None


def _safe(text: str) -> str:
    text = text.encode("utf-8", "replace").decode("utf-8")
    return f"'{text}" if text.startswith(_FORMULA) else text
