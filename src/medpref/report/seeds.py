"""The scores of single seeds beside their mean: what the luck of training does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from medpref.evaluation.comparison import ALL_SEEDS
from medpref.evaluation.metrics import is_share
from medpref.report.figures import axis, shortened, symbol
from medpref.report.layout import Headline, Layout, Role, figure_of
from medpref.report.svg import Scale, circle, drawing, extent, label, line, ticks
from medpref.report.wording import percent

_WIDTH, _ROW, _TOP = 460.0, 22.0, 6.0
_LABEL, _VALUE = 118.0, 40.0


@dataclass(frozen=True, slots=True)
class SeedRow:
    """One method: its score with each seed, and the mean over them."""

    method: str
    role: Role
    scores: Mapping[int, float]
    mean: float
    sd: float


@dataclass(frozen=True, slots=True)
class SeedFigure:
    """Every method of one backbone by one figure, with more than one seed."""

    backbone: str
    headline: Headline
    seeds: tuple[int, ...]
    rows: tuple[SeedRow, ...]
    drawing: Markup


def seed_figures(results: Mapping[str, Any], layout: Layout) -> list[SeedFigure]:
    """Return a figure for each headline and backbone that has several seeds."""
    wanted = [row for row in results["rows"] if row["condition"] == "normal" and row["value"] is not None]
    found = []
    for headline in layout.headline:
        own = [row for row in wanted if figure_of(row) == headline and is_share(headline.metric)]
        for backbone in layout.backbones:
            rows = _rows([row for row in own if row["backbone"] == backbone], layout)
            if rows:
                seeds = tuple(sorted({seed for row in rows for seed in row.scores}))
                found.append(SeedFigure(backbone, headline, seeds, rows, _drawing(rows)))
    return found


def _rows(rows: Sequence[Mapping[str, Any]], layout: Layout) -> tuple[SeedRow, ...]:
    found = []
    for method in layout.methods:
        own = {row["seed"]: row for row in rows if row["method"] == method}
        pooled = own.pop(ALL_SEEDS, None)
        if pooled and pooled.get("sd") is not None:
            scores = {int(seed): float(row["value"]) for seed, row in own.items()}
            found.append(SeedRow(method, layout.role(method), scores, pooled["value"], pooled["sd"]))
    return tuple(found)


def _drawing(rows: Sequence[SeedRow]) -> Markup:
    low, high = extent([value for row in rows for value in row.scores.values()], 0.08)
    scale = Scale(max(0.0, low), min(1.0, high), _LABEL + 8, _WIDTH - _VALUE - 10)
    bottom = _TOP + len(rows) * _ROW
    parts = list(axis(scale, ticks(scale.low, scale.high), _TOP, bottom))
    for number, row in enumerate(rows):
        y = _TOP + (number + 0.5) * _ROW
        values = list(row.scores.values())
        parts.append(label((_LABEL, y + 4), shortened(row.method), f"name {row.role.value}", "end"))
        parts.append(line((scale(min(values)), y), (scale(max(values)), y), "span bar"))
        parts += [circle((scale(value), y), "mark hollow", 2.8) for value in values]
        parts.append(symbol(row.role, (scale(row.mean), y)))
        parts.append(label((_WIDTH, y + 4), percent(row.mean), "value", "end"))
    said = "; ".join(
        f"{row.method} {percent(row.mean)}, seeds {', '.join(percent(v) for v in row.scores.values())}"
        for row in rows
    )
    return drawing(_WIDTH, bottom + 18, parts, label=f"Scores by seed: {said}", class_="panel")
