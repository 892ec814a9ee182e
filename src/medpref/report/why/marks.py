"""After training: the gradient's mass in the region of interest, and errors by kind against the start."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from medpref.report.figures import shortened
from medpref.report.layout import START, Headline, Layout, Role
from medpref.report.looking.errors import COLUMNS, NAMES, ErrorRow, error_tables
from medpref.report.svg import Element, Scale, circle, drawing, extent, label, line, square, ticks
from medpref.report.tables import Index, Score
from medpref.report.why.figure import WhyFigure, WhyPanel
from medpref.report.wording import interval, percent

_WIDTH = 340.0
_ROW, _TOP, _NAME, _VALUE = 19.0, 6.0, 120.0, 84.0


def region_figures(results: Mapping[str, Any], layout: Layout, backbone: str) -> list[WhyFigure]:
    """Return the mass of gradient × input in the region by method, a figure for each task that has it."""
    index = Index(results)
    found = []
    for task in dict.fromkeys(figure.task for figure in layout.headline):
        rows = []
        for method in layout.methods:
            mass = index.score(backbone, method, Headline(task, "region_mass", "all"))
            area = index.score(backbone, method, Headline(task, "region_area", "all"))
            if mass and mass.value is not None and area and area.value:
                rows.append((method, layout.role(method), mass, area.value))
        note = (
            f"share of gradient × input of the right answer inside the region, {task}, with 95 % intervals; "
            "dashed: the region’s share of the area, which is chance; beside the share, how many times that"
        )
        panels = (WhyPanel("", _region_panel(rows)),) if rows else ()
        found.append(WhyFigure(f"region-{task}", backbone, "Gradient mass in the region", note, panels))
    return found


def _region_panel(rows: Sequence[tuple[str, Role, Score, float]]) -> Markup:
    ends = [end for _, _, s, area in rows for end in (s.value, s.low, s.high, area) if end is not None]
    low, high = extent([0.0, *ends])
    scale = Scale(max(0.0, low), min(1.0, high), _NAME + 6, _WIDTH - _VALUE)
    bottom = _TOP + len(rows) * _ROW
    parts = _axis(scale, bottom)
    for number, (method, role, score, area) in enumerate(rows):
        y = _TOP + (number + 0.5) * _ROW
        parts.append(line((scale(area), y - _ROW / 2), (scale(area), y + _ROW / 2), "reference"))
        parts.append(label((_NAME, y + 4), shortened(method), f"name {role.value}", "end"))
        parts += _span(score, role, scale, y)
        value = score.value or 0.0
        symbol = square if role is Role.CONTROL else circle
        parts.append(symbol((scale(value), y), f"mark {role.value}"))
        parts.append(label((_WIDTH, y + 4), f"{percent(value)} · {value / area:.1f}×", "value", "end"))
    said = "; ".join(
        f"{m} {percent(s.value)} {interval(s.low, s.high)} where chance is {percent(area)}"
        for m, _, s, area in rows
    )
    return drawing(_WIDTH, bottom + 18, parts, label=said, class_="panel")


def error_figures(results: Mapping[str, Any], layout: Layout, backbone: str) -> list[WhyFigure]:
    """Return how often each method errs in each way, beside the start, a figure for each task."""
    found = []
    for table in error_tables(results, layout):
        if table.backbone != backbone or table.measure != "of_answers":
            continue
        rows = {row.method: row for row in table.rows if row.by == "rules"}
        start = rows.pop(START, None)
        panels = tuple(WhyPanel(name, _error_panel(start, row)) for name, row in rows.items() if start)
        note = f"in % of all scored answers, {table.task}; ring: {START}, disc with 95 % interval: the method"
        found.append(
            WhyFigure(f"errors-{table.task}", backbone, "Errors by kind, before and after", note, panels)
        )
    return found


def _error_panel(start: ErrorRow | None, row: ErrorRow) -> Markup:
    kinds = [
        (kind, before, after.score)
        for kind, first, after in zip(COLUMNS, start.cells if start else (), row.cells, strict=True)
        if (before := _share(first.score)) or _share(after.score)
    ]
    highest = max(
        [0.01, *(end for _, before, s in kinds for end in (before, _share(s), (s and s.high) or 0.0))]
    )
    scale = Scale(0.0, min(1.0, 1.04 * highest), _NAME + 6, _WIDTH - _VALUE)
    bottom = _TOP + len(kinds) * _ROW
    parts = _axis(scale, bottom)
    for number, (kind, before, score) in enumerate(kinds):
        y, after = _TOP + (number + 0.5) * _ROW, _share(score)
        parts.append(label((_NAME, y + 4), _name(kind), "name", "end"))
        parts += _span(score, row.role, scale, y) if score else []
        parts.append(circle((scale(after), y), "mark"))
        parts.append(circle((scale(before), y), "mark hollow"))
        parts.append(label((_WIDTH, y + 4), f"{percent(before)} → {percent(after)}", "value", "end"))
    said = "; ".join(f"{_name(kind)} {percent(b)} to {percent(_share(s))}" for kind, b, s in kinds)
    return drawing(_WIDTH, bottom + 18, parts, label=f"{row.method}: {said}", class_="panel")


def _name(kind: str) -> str:
    return "Visual, any" if kind == COLUMNS[0] else NAMES[kind]


def _share(score: Score | None) -> float:
    return (score.value if score else 0.0) or 0.0


def _span(score: Score, role: Role, scale: Scale, y: float) -> list[Element]:
    if score.low is None or score.high is None:
        return []
    return [line((scale(score.low), y), (scale(score.high), y), f"span {role.value}")]


def _axis(scale: Scale, bottom: float) -> list[Element]:
    parts = []
    for value in ticks(scale.low, scale.high, 3):
        parts.append(line((scale(value), _TOP), (scale(value), bottom), "grid"))
        parts.append(label((scale(value), bottom + 13), f"{100 * value:g}", "tick", "middle"))
    return parts
