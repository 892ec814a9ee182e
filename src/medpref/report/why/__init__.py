"""Why a method did or did not help, from logs alone."""

from medpref.report.layout import Layout
from medpref.report.load import RunFolder
from medpref.report.why.figure import WhyFigure, WhyPanel
from medpref.report.why.marks import error_figures, region_figures
from medpref.report.why.steps import accuracy_figure, drift_figure

__all__ = ["WhyFigure", "WhyPanel", "why_figures"]


def why_figures(run: RunFolder, layout: Layout) -> list[WhyFigure]:
    """Return the figures that a run's logs hold enough for, by backbone.

    Reward accuracy beside probed accuracy, the drift of the chosen response, the gradient's mass in the
    region of interest, and errors by kind against the start.
    """
    found = []
    for backbone in layout.backbones:
        curves = [curve for curve in run.curves if curve.backbone == backbone]
        found += [
            accuracy_figure(curves, layout, backbone),
            drift_figure(curves, run.searches, layout, backbone),
            *region_figures(run.results, layout, backbone),
            *error_figures(run.results, layout, backbone),
        ]
    return [figure for figure in found if figure.panels]
