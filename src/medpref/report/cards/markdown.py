"""Markdown of texts that others wrote."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from medpref.report.sheets.sheet import Cell, Figure, Sheet
from medpref.report.wording import ABSENT, number

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|!~])")


def escape(text: str) -> str:
    """Return a text that Markdown, and the HTML in it, shows as it is, in one line."""
    plain = " ".join(text.split()).encode("utf-8", "replace").decode("utf-8")
    return _SPECIAL.sub(r"\\\1", plain.replace("&", "&amp;"))


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Return a table, and nothing where there are no rows."""
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    if not lines:
        return ""
    head = f"| {' | '.join(map(escape, columns))} |\n|{'---|' * len(columns)}"
    return "\n".join([head, *lines])


def sheet_table(sheet: Sheet) -> str:
    """Return a sheet with its caption."""
    rows = [line.cells for line in sheet.lines]
    return f"{escape(sheet.caption)}\n\n{table(sheet.columns, rows)}"


def _cell(cell: Cell) -> str:
    if isinstance(cell, Figure):
        return escape(cell.text)
    if isinstance(cell, str):
        return escape(cell)
    return ABSENT if cell is None else number(cell)


def bullets(lines: Iterable[str]) -> str:
    """Return a list of texts."""
    return "\n".join(f"- {escape(line)}" for line in lines)


def section(title: str, body: str) -> str:
    """Return a part of a card under its title; nothing where it has no body."""
    return f"## {title}\n\n{body}" if body else ""


def card(header: dict[str, Any], *parts: str) -> str:
    """Return a card: YAML between dashes, then the parts that are not empty."""
    front = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    return "\n\n".join([f"---\n{front}---", *(part for part in parts if part)]) + "\n"
