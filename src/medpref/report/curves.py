"""Training curves: a small panel for each quantity and method, with the other methods behind it in grey."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from medpref.report.layout import Layout
from medpref.report.load import Curve
from medpref.report.svg import Element, Point, Scale, drawing, extent, label, line, path, ticks

_WIDTH, _HEIGHT = 160.0, 100.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 32.0, 156.0, 6.0, 82.0
_MOST_POINTS = 100

_Line = tuple[Point, ...]


class Quantity(NamedTuple):
    """Something that training logs hold.

    Attributes:
        key: its name in the log.
        title: what it is.
        note: how to read it.
        comparable: whether methods may be compared by it, and share a scale.
    """

    key: str
    title: str
    note: str
    comparable: bool = True


QUANTITIES = (
    Quantity("loss", "Loss", "in nats; each method minimises its own, so each has its own scale", False),
    Quantity("rewards/margins", "Reward margin", "chosen less rejected response, in nats"),
    Quantity("rewards/image_margins", "Image reward margin", "clean less rejected image, in nats"),
    Quantity(
        "rewards/accuracies", "Reward accuracy", "share of pairs whose chosen side has the higher reward"
    ),
    Quantity(
        "rewards/image_accuracies",
        "Image reward accuracy",
        "share of pairs whose clean image has the higher reward",
    ),
    Quantity(
        "logps/chosen", "Log-probability of the chosen response", "in nats; falling means unlearning it"
    ),
    Quantity("logps/rejected", "Log-probability of the rejected response", "in nats"),
)


@dataclass(frozen=True, slots=True)
class CurvePanel:
    """One quantity of one method."""

    method: str
    drawing: Markup


@dataclass(frozen=True, slots=True)
class CurveFigure:
    """One quantity of every method of one backbone."""

    backbone: str
    quantity: Quantity
    panels: tuple[CurvePanel, ...]


def curve_figures(curves: Sequence[Curve], layout: Layout) -> list[CurveFigure]:
    """Return a figure for each backbone and quantity that some training log holds."""
    backbones = list(dict.fromkeys([*layout.backbones, *(curve.backbone for curve in curves)]))
    found = [
        CurveFigure(
            name, quantity, tuple(_panels([c for c in curves if c.backbone == name], quantity, layout))
        )
        for name in backbones
        for quantity in QUANTITIES
    ]
    return [figure for figure in found if figure.panels]


def _panels(curves: Sequence[Curve], quantity: Quantity, layout: Layout) -> list[CurvePanel]:
    lines: dict[str, list[_Line]] = defaultdict(list)
    for curve in curves:
        points = series(curve, quantity.key)
        if len(points) > 1:
            lines[curve.method].append(points)
    methods = [name for name in layout.methods if name in lines]
    return [CurvePanel(name, _panel(name, lines, quantity)) for name in methods]


def series(curve: Curve, key: str) -> _Line:
    """Return (step, value), thinned to the means of neighbours where there are many."""
    rows = [(row["step"], row[key]) for row in curve.rows if _is_number(row.get(key))]
    size = math.ceil(len(rows) / _MOST_POINTS)
    groups = [rows[start : start + size] for start in range(0, len(rows), size or 1)]
    return tuple(
        (_mean([step for step, _ in group]), _mean([value for _, value in group])) for group in groups
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _panel(method: str, lines: Mapping[str, Sequence[_Line]], quantity: Quantity) -> Markup:
    own = lines[method]
    others = (
        [points for name in lines if name != method for points in lines[name]] if quantity.comparable else []
    )
    # A method that trains for other than these steps, such as the starting point, would squash the scale.
    last = own[0][-1][0]
    others = [points for points in others if math.isclose(points[-1][0], last, rel_tol=0.25)]
    every = [point for points in (*own, *others) for point in points]
    across = Scale(0.0, max(step for step, _ in every), _LEFT, _RIGHT)
    up = Scale(*extent([value for _, value in every]), _BOTTOM, _TOP)
    parts = _axes(across, up)
    parts += [path(_placed(points, across, up), "ghost") for points in others]
    parts += [path(_placed(points, across, up), "curve") for points in own]
    said = f"{method}, {quantity.title.lower()}: from {own[0][0][1]:.4g} to {own[0][-1][1]:.4g}"
    return drawing(_WIDTH, _HEIGHT, parts, label=said, class_="curve-panel")


def _placed(points: _Line, across: Scale, up: Scale) -> list[Point]:
    return [(across(step), up(value)) for step, value in points]


def _axes(across: Scale, up: Scale) -> list[Element]:
    parts = []
    marks = ticks(up.low, up.high, 3)
    for value in marks if len(marks) > 1 else ticks(up.low, up.high, 6):
        parts.append(line((_LEFT, up(value)), (_RIGHT, up(value)), "grid"))
        parts.append(label((_LEFT - 4, up(value) + 3.5), f"{value:g}".replace("-", "−"), "tick", "end"))
    for step in (0.0, across.high):
        parts.append(
            label((across(step), _HEIGHT - 5), f"{step:.0f}", "tick", "middle" if step == 0 else "end")
        )
    return parts
