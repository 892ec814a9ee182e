"""Closed questions by likelihood beside the answers that were generated."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from medpref.report.layout import Headline, Layout, Role
from medpref.report.tables import Index, Score

ACCURACY, UNPARSED = "accuracy", "unparsed"
LIKELY, PER_TOKEN, MARGIN = "likelihood_accuracy", "likelihood_accuracy_per_token", "likelihood_margin"
METRICS = (ACCURACY, UNPARSED, LIKELY, PER_TOKEN, MARGIN)
LIKELIHOOD = (LIKELY, PER_TOKEN, MARGIN)


class LikelihoodRow(NamedTuple):
    """One method's figures in the order of `METRICS`."""

    method: str
    role: Role
    scores: tuple[Score | None, ...]
    n: int


class LikelihoodTable(NamedTuple):
    """Every method of one backbone; `slice` is the questions, n those with a closed set of answers."""

    task: str
    backbone: str
    slice: str
    rows: tuple[LikelihoodRow, ...]


def likelihood_tables(results: Mapping[str, Any], layout: Layout) -> list[LikelihoodTable]:
    """Return a table for each task and backbone whose allowed answers were scored."""
    index = Index(results)
    tasks = dict.fromkeys(figure.task for figure in layout.headline)
    found = [_table(index, layout, task, name) for task in tasks for name in layout.backbones]
    return [table for table in found if table.rows]


def _table(index: Index, layout: Layout, task: str, backbone: str) -> LikelihoodTable:
    part = _part(index, layout, task, backbone)
    lines = []
    for method in layout.methods:
        scores = tuple(index.score(backbone, method, Headline(task, metric, part)) for metric in METRICS)
        likely = scores[METRICS.index(LIKELY)]
        if likely and likely.n:
            lines.append(LikelihoodRow(method, layout.role(method), scores, likely.n))
    return LikelihoodTable(task, backbone, part, tuple(lines))


def _part(index: Index, layout: Layout, task: str, backbone: str) -> str:
    """Return the closed questions where they are all that was scored, and otherwise all."""

    def counted(part: str) -> int:
        scores = [index.score(backbone, name, Headline(task, LIKELY, part)) for name in layout.methods]
        return max((score.n for score in scores if score), default=0)

    return "closed" if counted("closed") == counted("all") else "all"
