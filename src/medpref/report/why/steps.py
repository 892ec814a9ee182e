"""Over the steps of training: what the rewards say beside what the model answers, and how far it drifts."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from medpref.evaluation.metrics import PROBE
from medpref.report.curves import series
from medpref.report.layout import Layout
from medpref.report.load import Curve, Search
from medpref.report.svg import Element, Point, Scale, drawing, extent, label, line, path, ticks
from medpref.report.why.figure import WhyFigure, WhyPanel
from medpref.report.wording import in_sentence, metric_name

_WIDTH, _HEIGHT = 300.0, 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 34.0, 232.0, 8.0, 128.0
_LINE = 12.0
# Of the chosen over the rejected response, and of the clean over the rejected image.
_REWARDS = {"rewards/accuracies": "reward", "rewards/image_accuracies": "by image"}

_Points = tuple[Point, ...]


class _Series(NamedTuple):
    """One line of a panel: its name at the line's end, its classes, and the points of each seed."""

    name: str
    style: str
    seeds: tuple[_Points, ...]

    @property
    def mean(self) -> _Points:
        """The mean over the seeds, at the steps that all of them have."""
        values = [dict(points) for points in self.seeds]
        steps = sorted(set.intersection(*(set(own) for own in values)))
        return tuple((step, sum(own[step] for own in values) / len(values)) for step in steps)


def accuracy_figure(curves: Sequence[Curve], layout: Layout, backbone: str) -> WhyFigure:
    """Return, for each method that was asked while it trained, its reward accuracy and its true accuracy."""
    metric = _probed_metric(curves, layout)
    panels = []
    for method in layout.methods if metric else ():
        own = [curve for curve in curves if curve.method == method]
        truth = [_of(own, key, name, style) for key, name, style in _truths(own, f"{PROBE}{metric}")]
        reward = [_of(own, key, name, "curve") for key, name in _REWARDS.items()]
        if any(truth):
            panels.append((method, [found for found in (*reward, *truth) if found]))
    return WhyFigure(
        "accuracy",
        backbone,
        f"Reward accuracy and true {in_sentence(metric_name(metric or 'accuracy'))}",
        "share of training pairs whose chosen side has the higher reward, and, darker, scores on the "
        "validation samples, asked while the model trained; dashed for a part of them",
        _drawn(panels),
    )


def _probed_metric(curves: Iterable[Curve], layout: Layout) -> str | None:
    """Return the metric that models were asked for: the first headline that logs have, or any other."""
    logged = {
        name.removeprefix(PROBE)
        for curve in curves
        for row in curve.rows
        for name in row
        if name.startswith(PROBE)
    }
    found = sorted(name for name in logged - {"n"} if "/" not in name)
    wanted = [figure.metric for figure in layout.headline if figure.metric in found]
    return next(iter([*wanted, *found]), None)


def _truths(curves: Iterable[Curve], key: str) -> list[tuple[str, str, str]]:
    """Return the logged keys of a probed metric with names and styles, the one over all samples first."""
    logged = {name for curve in curves for row in curve.rows for name in row}
    parts = sorted(name for name in logged if name.startswith(f"{key}/"))
    return [(key, "true", "truth"), *((name, name.removeprefix(f"{key}/"), "truth part") for name in parts)]


def drift_figure(
    curves: Sequence[Curve], searches: Sequence[Search], layout: Layout, backbone: str
) -> WhyFigure:
    """Return how far the log-prob of the chosen response has moved, for each method."""
    betas = {
        (search.method, search.seed): candidate.settings.get("beta")
        for search in searches
        for candidate in search.candidates
        if search.backbone == backbone and candidate.chosen
    }
    panels = []
    for method in layout.methods:
        own = [curve for curve in curves if curve.method == method]
        moved = [points for curve in own if (points := _drift(curve, betas.get((method, curve.seed))))]
        if moved:
            panels.append((method, [_Series("", "curve", tuple(moved))]))
    return WhyFigure(
        "drift",
        backbone,
        "Drift of the chosen response",
        "its log-prob less the reference’s, in nats, over the pairs of each line of the log; without a "
        "reference, less that of the first line. Below zero the right answer is unlearned",
        _drawn(panels, zero=True),
    )


def _drift(curve: Curve, beta: object) -> _Points:
    """Return the drift in nats: from the reward β·(log π − log π_ref) where β is known."""
    rewards = series(curve, "rewards/chosen")
    if len(rewards) > 1 and isinstance(beta, int | float) and beta > 0:
        return tuple((step, value / beta) for step, value in rewards)
    logps = series(curve, "logps/chosen")
    return tuple((step, value - logps[0][1]) for step, value in logps) if len(logps) > 1 else ()


def _of(curves: Iterable[Curve], key: str, name: str, style: str) -> _Series | None:
    seeds = tuple(points for curve in curves if len(points := series(curve, key)) > 1)
    return _Series(name, style, seeds) if seeds else None


def _drawn(panels: Sequence[tuple[str, Sequence[_Series]]], *, zero: bool = False) -> tuple[WhyPanel, ...]:
    """Return the panels, all on one scale."""
    values = [
        value for _, lines in panels for found in lines for points in found.seeds for _, value in points
    ]
    if not values:
        return ()
    up = Scale(*extent([*values, 0.0] if zero else values), _BOTTOM, _TOP)
    return tuple(WhyPanel(method, _panel(method, lines, up)) for method, lines in panels)


def _panel(method: str, lines: Sequence[_Series], up: Scale) -> Markup:
    last = max(step for found in lines for points in found.seeds for step, _ in points)
    across = Scale(0.0, last, _LEFT, _RIGHT)
    parts = _axes(across, up)
    for found in lines:
        if len(found.seeds) > 1:
            parts += [path(_placed(points, across, up), f"{found.style} seed") for points in found.seeds]
        if found.mean:
            parts.append(path(_placed(found.mean, across, up), found.style))
    ends = [(up(found.mean[-1][1]), found) for found in lines if found.mean and found.name]
    parts += [label((_RIGHT + 5, y + 3.5), found.name, f"end {found.style}") for y, found in _apart(ends)]
    said = "; ".join(
        f"{found.name} from {found.mean[0][1]:.3g} to {found.mean[-1][1]:.3g}".strip()
        for found in lines
        if found.mean
    )
    return drawing(_WIDTH, _HEIGHT, parts, label=f"{method}: {said}", class_="why-panel")


def _placed(points: _Points, across: Scale, up: Scale) -> list[Point]:
    return [(across(step), up(value)) for step, value in points]


def _apart(ends: Sequence[tuple[float, _Series]]) -> list[tuple[float, _Series]]:
    """Return the ends' heights such that no label lies on another."""
    found: list[tuple[float, _Series]] = []
    for y, own in sorted(ends, key=lambda end: end[0]):
        found.append((max(y, found[-1][0] + _LINE) if found else y, own))
    over = max(0.0, found[-1][0] - _BOTTOM) if found else 0.0
    return [(y - over, own) for y, own in found]


def _axes(across: Scale, up: Scale) -> list[Element]:
    parts = []
    for value in ticks(up.low, up.high, 4):
        kind = "reference" if value == 0 else "grid"
        parts.append(line((_LEFT, up(value)), (_RIGHT, up(value)), kind))
        parts.append(label((_LEFT - 4, up(value) + 3.5), f"{value:g}".replace("-", "−"), "tick", "end"))
    for step, anchor in ((0.0, "middle"), (across.high, "end")):
        parts.append(label((across(step), _BOTTOM + 16), f"{step:.0f}", "tick", anchor))
    parts.append(label((across(across.high / 2), _BOTTOM + 16), "steps", "tick", "middle"))
    return parts
