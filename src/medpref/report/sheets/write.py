"""Write tables into a folder."""

from collections.abc import Sequence
from pathlib import Path

from medpref.files import write_bytes
from medpref.report.sheets.csv_text import csv_text
from medpref.report.sheets.latex import latex_text
from medpref.report.sheets.sheet import Sheet

TABLES = "tables"
ENDINGS = (".csv", ".tex")


def write_sheets(folder: Path, sheets: Sequence[Sheet]) -> list[Path]:
    """Write every table as CSV and LaTeX; tables of an earlier report that are no more are removed.

    Returns:
        The files, in the order of the tables.

    Raises:
        RunError: a file cannot be written.
    """
    found: list[Path] = []
    for sheet in sheets:
        for ending, text in zip(ENDINGS, (csv_text(sheet), latex_text(sheet)), strict=True):
            path = folder / f"{sheet.name}{ending}"
            write_bytes(path, text.encode(), durable=False)
            found.append(path)
    for path in folder.glob("*") if folder.is_dir() else ():
        if path.suffix in ENDINGS and path not in found:
            path.unlink()
    return found
