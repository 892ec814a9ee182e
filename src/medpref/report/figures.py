"""Figures of scores: whiskers in tables, dot plots by question kind, dumbbells with and without the image."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from medpref.evaluation.metrics import goodness
from medpref.report.layout import BASELINE, NO_BACKBONE, Headline, Layout, Role
from medpref.report.svg import (
    Element,
    Point,
    Scale,
    circle,
    diamond,
    drawing,
    extent,
    label,
    line,
    square,
    ticks,
)
from medpref.report.tables import Index, MethodRow, Score, ScoreTable
from medpref.report.wording import interval, percent

# The symbol of each role, so that no figure needs its colours to be read.
_SYMBOLS: Mapping[Role, Callable[[Point, str], Element]] = {
    Role.CONTROL: square,
    Role.METHOD: circle,
    Role.BASELINE: diamond,
}
_WHISKER = (130.0, 20.0)
_DUMBBELL = (220.0, 20.0)
_PANEL_WIDTH = 330.0
_PANEL_ROW = 19.0
_PANEL_TOP = 6.0
_PANEL_LABEL = 112.0
_PANEL_VALUE = 34.0
_LONGEST_NAME = 17


@dataclass(frozen=True, slots=True)
class Panel:
    """The scores on one question kind, or on one value of an attribute, drawn and as rows."""

    kind: str
    n: int
    rows: tuple[tuple[str, Role, Score], ...]
    drawing: Markup


@dataclass(frozen=True, slots=True)
class KindFigure:
    """One metric by question kind or attribute (`facet`), for one backbone and task."""

    backbone: str
    task: str
    metric: str
    facet: str
    panels: tuple[Panel, ...]

    @property
    def methods(self) -> list[str]:
        """Every method of any panel, in order."""
        return list(dict.fromkeys(name for panel in self.panels for name, _, _ in panel.rows))

    def score(self, method: str, panel: Panel) -> Score | None:
        """Return a method's score in a panel, None where it has none."""
        return next((score for name, _, score in panel.rows if name == method), None)


def whiskers(table: ScoreTable, control: str | None) -> dict[str, Markup]:
    """Return a whisker for each row of a table, all on one scale with a line at the control's score.

    A baseline far below the methods has none: it would squash the others.
    """
    low, high = extent([end for row in table.rows for end in _ends(row.score)] or [0.0, 1.0])
    scale = Scale(max(0.0, low), min(1.0, high), 6, _WHISKER[0] - 6)
    reference = next((row.score.value for row in table.rows if row.method == control), None)
    return {row.method: _whisker(row, scale, reference) for row in (*table.rows, *table.baselines)}


def symbol(role: Role, at: Point) -> Element:
    """Return the symbol of a role, by which it is told without colour."""
    return _SYMBOLS[role](at, f"mark {role.value}")


def _ends(score: Score) -> list[float]:
    return [end for end in (score.low, score.high, score.value) if end is not None]


def _whisker(row: MethodRow, scale: Scale, reference: float | None) -> Markup:
    if row.score.value is None or not scale.low <= row.score.value <= scale.high:
        return Markup()
    text = f"{row.method}: {percent(row.score.value)} {interval(row.score.low, row.score.high)}".strip()
    parts = _mark(row.score, row.role, scale, _WHISKER[1] / 2)
    if reference is not None:
        parts.insert(0, line((scale(reference), 0), (scale(reference), _WHISKER[1]), "reference"))
    return drawing(*_WHISKER, parts, label=text, class_="whisker")


def _mark(score: Score, role: Role, scale: Scale, y: float) -> list[Element]:
    parts = []
    if score.low is not None and score.high is not None:
        parts.append(line((scale(score.low), y), (scale(score.high), y), f"span {role.value}"))
    if score.value is not None:
        parts.append(symbol(role, (scale(score.value), y)))
    return parts


def dumbbells(table: ScoreTable) -> dict[str, Markup]:
    """Return, for each method asked without the image, its two scores joined by a line, all on one scale."""
    paired = {row.method: (row.score.value, row.blank.value) for row in table.rows if row.blank}
    ends = [value for pair in paired.values() for value in pair if value is not None]
    if not ends:
        return {}
    low, high = extent(ends, 0.08)
    scale = Scale(max(0.0, low), min(1.0, high), 6, _DUMBBELL[0] - 6)
    return {
        method: _dumbbell(method, normal, blank, scale)
        for method, (normal, blank) in paired.items()
        if normal is not None and blank is not None
    }


def _dumbbell(method: str, normal: float, blank: float, scale: Scale) -> Markup:
    y = _DUMBBELL[1] / 2
    parts = [
        line((scale(blank), y), (scale(normal), y), "span bar"),
        circle((scale(blank), y), "mark hollow"),
        circle((scale(normal), y), "mark method"),
    ]
    text = f"{method}: {percent(normal)} with the image, {percent(blank)} without"
    return drawing(*_DUMBBELL, parts, label=text, class_="dumbbell")


def kind_figures(results: Mapping[str, Any], layout: Layout) -> list[KindFigure]:
    """Return a figure for each backbone, task, headline metric and facet: question kinds, and attributes."""
    index = Index(results)
    metrics = dict.fromkeys((figure.task, figure.metric) for figure in layout.headline)
    found = [
        _kind_figure(index, layout, name, *metric, facet)
        for metric in metrics
        for name in layout.backbones
        for facet in index.facets(metric[0])
    ]
    return [figure for figure in found if len(figure.panels) > 1]


def _kind_figure(
    index: Index, layout: Layout, backbone: str, task: str, metric: str, facet: str
) -> KindFigure:
    panels = []
    for kind in index.facets(task)[facet]:
        figure = Headline(task, metric, f"{facet}:{kind}")
        rows = [
            (method, layout.role(method), score)
            for method in layout.methods
            if (score := index.score(backbone, method, figure)) and score.value is not None
        ]
        if rows:
            rows += _best_blind(index, figure)
            n = max(score.n for _, _, score in rows)
            panels.append(Panel(kind, n, tuple(rows), dot_panel(kind, n, rows)))
    return KindFigure(backbone, task, metric, facet, tuple(panels))


def _best_blind(index: Index, figure: Headline) -> list[tuple[str, Role, Score]]:
    """Return the baseline with the best score on a kind, if there is one."""
    scores = {name: index.score(NO_BACKBONE, name, figure) for name in index.baselines()}
    known = {name: score for name, score in scores.items() if score and score.value is not None}
    best = max(
        known, key=lambda name: (goodness(figure.metric, known[name].value or 0.0), name), default=None
    )
    return [(best.removeprefix(BASELINE), Role.BASELINE, known[best])] if best else []


def dot_panel(title: str, n: int, rows: Sequence[tuple[str, Role, Score]], high: float = 1.0) -> Markup:
    """Return a dot with a whisker for each row, on a scale from 0 to `high`."""
    bottom = _PANEL_TOP + len(rows) * _PANEL_ROW
    scale = Scale(0.0, high, _PANEL_LABEL + 6, _PANEL_WIDTH - _PANEL_VALUE - 8)
    parts = list(axis(scale, ticks(0.0, high, 2), _PANEL_TOP, bottom))
    for number, (method, role, score) in enumerate(rows):
        y = _PANEL_TOP + (number + 0.5) * _PANEL_ROW
        parts.append(label((_PANEL_LABEL, y + 4), shortened(method), f"name {role.value}", "end"))
        parts += _mark(score, role, scale, y)
        parts.append(label((_PANEL_WIDTH, y + 4), percent(score.value), "value", "end"))
    said = "; ".join(f"{m} {percent(s.value)} {interval(s.low, s.high)}".strip() for m, _, s in rows)
    return drawing(_PANEL_WIDTH, bottom + 18, parts, label=f"{title}, n = {n}: {said}", class_="panel")


def axis(scale: Scale, at: Iterable[float], top: float, bottom: float) -> Iterable[Element]:
    """Yield upright lines at shares, with the per cent below."""
    for value in at:
        x = scale(value)
        yield line((x, top), (x, bottom), "grid")
        yield label((x, bottom + 13), f"{100 * value:g}", "tick", "middle")


def shortened(name: str) -> str:
    """Return a name that fits beside a figure; the figure's description has it whole."""
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
