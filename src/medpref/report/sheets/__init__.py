"""The page's tables as files: one CSV and one LaTeX file each, from the rows that the page shows."""

from medpref.report.sheets.make import make_sheets
from medpref.report.sheets.write import TABLES, write_sheets

__all__ = ["TABLES", "make_sheets", "write_sheets"]
