"""The kinds of errors of each method, by rules and by a judge side by side."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from medpref.evaluation.looking.error_kinds import VISUAL_ANY
from medpref.evaluation.looking.error_rules import ERROR_KINDS, VISUAL
from medpref.report.figures import dot_panel
from medpref.report.layout import Layout, Role, Row
from medpref.report.looking.rows import Pooled, looking_rows, places, pooled, score_of
from medpref.report.tables import Score
from medpref.report.wording import counted

VISUAL_COLUMNS = (VISUAL_ANY, *VISUAL)
OTHER_COLUMNS = tuple(kind for kind in ERROR_KINDS if kind not in VISUAL)
COLUMNS = (*VISUAL_COLUMNS, *OTHER_COLUMNS)
NAMES: Mapping[str, str] = {VISUAL_ANY: "Any of these"} | {kind: kind.capitalize() for kind in ERROR_KINDS}
"""What the columns are called."""
_BY = ("rules", "judge")
_MEASURES = ("of_errors", "of_answers")


class Cell(NamedTuple):
    """A share with the answers behind it, over all seeds."""

    score: Score | None
    answers: int


class ErrorRow(NamedTuple):
    """One method's errors, told by rules or by a judge; n is the wrong, or the scored, answers of a seed."""

    method: str
    role: Role
    by: str
    cells: tuple[Cell, ...]
    n: int


class ErrorTable(NamedTuple):
    """The shares of kinds of errors for every method of one backbone: of the errors, or of all answers."""

    task: str
    backbone: str
    measure: str
    judged: bool
    rows: tuple[ErrorRow, ...]


class ErrorFigure(NamedTuple):
    """The shares of kinds of errors of one backbone, told `by` rules or a judge: (title, n, drawing)."""

    task: str
    backbone: str
    by: str
    panels: tuple[tuple[str, int, Markup], ...]


def error_tables(results: Mapping[str, Any], layout: Layout) -> list[ErrorTable]:
    """Return, for each task and backbone with wrong answers, a table of each measure."""
    rows = looking_rows(results, "errors")
    found = pooled(rows, "task", "backbone", "measure", "method", "by", "kind")
    tables = [
        _table(found, layout, task, backbone, measure)
        for task, backbone in places(rows, layout)
        for measure in _MEASURES
    ]
    return [table for table in tables if table.rows]


def _table(found: Pooled, layout: Layout, task: str, backbone: str, measure: str) -> ErrorTable:
    lines = []
    for method in layout.methods:
        for by in _BY:
            own = [found.get((task, backbone, measure, method, by, kind)) for kind in COLUMNS]
            n = max((row["n"] for row in own if row), default=0)
            if n:
                cells = tuple(_cell(row) for row in own)
                lines.append(ErrorRow(method, layout.role(method), by, cells, n))
    return ErrorTable(task, backbone, measure, any(line.by == "judge" for line in lines), tuple(lines))


def _cell(row: Row | None) -> Cell:
    return Cell(score_of(row), row["count"] if row else 0)


def error_figures(tables: Sequence[ErrorTable]) -> list[ErrorFigure]:
    """Return the shares of all answers by kind of error, drawn; kinds that nobody errs in are left out."""
    return [_figure(table) for table in tables if table.measure == "of_answers"]


def _figure(table: ErrorTable) -> ErrorFigure:
    rows = [row for row in table.rows if row.by == ("judge" if table.judged else "rules")]
    ends = [c.score.high or c.score.value or 0.0 for row in rows for c in row.cells if c.score]
    # All panels share a scale, so that kinds can be compared as well.
    high = min(1.0, max([*ends, 0.02]) * 1.05)
    panels = []
    for place, kind in enumerate(COLUMNS):
        shares = [(row.method, row.role, score) for row in rows if (score := row.cells[place].score)]
        if any(score.value for _, _, score in shares):
            n = max(row.n for row in rows)
            title = "Any visual misreading" if kind == VISUAL_ANY else NAMES[kind]
            panels.append((title, n, dot_panel(title, n, shares, high)))
    return ErrorFigure(table.task, table.backbone, rows[0].by if rows else "", tuple(panels))


def agreement_sentence(results: Mapping[str, Any]) -> str:
    """Say how far the judge and the rules agree; empty where nothing was judged."""
    rows = looking_rows(results, "agreement")
    if not rows:
        return ""
    kappa = rows[0]["kappa"]
    told = "is not defined" if kappa is None else f"= {kappa:.2f}"
    return (
        f"The judge and the rules name the same main kind for {100 * rows[0]['same']:.0f}\u00a0% of "
        f"{counted(rows[0]['n'], 'distinct wrong answer')}: Cohen’s κ {told}."
    )
