"""Whether the probabilities of yes are as good as they claim: figures in tables, and reliability plots."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from medpref.evaluation.alignment import NORMAL
from medpref.report.layout import Layout, Role, Row
from medpref.report.looking.reliability import Bin, reliability_plot
from medpref.report.looking.rows import looking_rows, places, pooled, score_of
from medpref.report.tables import Score

MEASURES = (
    "ece",
    "ece_if_calibrated",
    "rms_debiased",
    "brier",
    "brier_of_base_rate",
    "mean_p_yes",
    "share_yes",
)


class CalibrationRow(NamedTuple):
    """One method's figures by measure, over n yes/no questions."""

    method: str
    role: Role
    scores: Mapping[str, Score | None]
    n: int


class CalibrationTable(NamedTuple):
    """The calibration of every method of one backbone under one condition."""

    task: str
    backbone: str
    condition: str
    rows: tuple[CalibrationRow, ...]


class Plot(NamedTuple):
    """One method's reliability, drawn and as rows."""

    method: str
    n: int
    bins: tuple[Bin, ...]
    drawing: Markup


class PlotFigure(NamedTuple):
    """The reliability of every method of one backbone, with one seed."""

    task: str
    backbone: str
    seed: int
    seeds: int
    plots: tuple[Plot, ...]


def calibration_tables(results: Mapping[str, Any], layout: Layout) -> list[CalibrationTable]:
    """Return a table for each task, backbone and condition, the images as they are first."""
    rows = looking_rows(results, "calibration")
    found = pooled(rows, "task", "backbone", "condition", "method", "measure")
    tables = []
    for task, backbone, condition in places(rows, layout, "condition"):
        lines = []
        for method in layout.methods:
            own = {name: found.get((task, backbone, condition, method, name)) for name in MEASURES}
            n = max((row["n"] for row in own.values() if row), default=0)
            if n:
                scores = {name: score_of(row) for name, row in own.items()}
                lines.append(CalibrationRow(method, layout.role(method), scores, n))
        if lines:
            tables.append(CalibrationTable(task, backbone, condition, tuple(lines)))
    return sorted(tables, key=lambda table: table.condition != NORMAL)


def plot_figures(results: Mapping[str, Any], layout: Layout) -> list[PlotFigure]:
    """Return the reliability plots of the first seed, with the images as they are."""
    rows = [row for row in looking_rows(results, "reliability") if row["condition"] == NORMAL]
    figures = []
    for task, backbone in places(rows, layout):
        own = [row for row in rows if (row["task"], row["backbone"]) == (task, backbone)]
        seeds = sorted({row["seed"] for row in own})
        first = [row for row in own if row["seed"] == seeds[0]]
        plots = [
            _plot(method, [row for row in first if row["method"] == method])
            for method in layout.methods
            if any(row["method"] == method for row in first)
        ]
        figures.append(PlotFigure(task, backbone, seeds[0], len(seeds), tuple(plots)))
    return [figure for figure in figures if figure.plots]


def _plot(method: str, rows: Sequence[Row]) -> Plot:
    bins = tuple(
        Bin(
            row["p_low"],
            row["p_high"],
            row["p_mean"],
            Score(row["share_yes"], row["ci_low"], row["ci_high"], row["n"]),
        )
        for row in sorted(rows, key=lambda row: row["bin"])
    )
    return Plot(method, sum(each.share.n for each in bins), bins, reliability_plot(method, bins))
