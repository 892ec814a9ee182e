"""What stands beside the headline: other scores, how varied the answers are, and what has no score."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from medpref.evaluation.log import EvaluationLog
from medpref.evaluation.metrics import is_legacy
from medpref.report.layout import BASELINE, NO_BACKBONE, Headline, Layout, Role
from medpref.report.likelihood import LIKELIHOOD
from medpref.report.tables import Index, Score


class Output(NamedTuple):
    """The answers of one method to one task.

    Attributes:
        distinct: how many different answers there are; of several seeds, the fewest that one has.
        asked: the questions of one seed.
        words: the mean length in words.
    """

    distinct: int
    asked: int
    words: float


@dataclass(frozen=True, slots=True)
class OtherRow:
    """One method's scores; `place` and `name` are backbone and method as logs have them."""

    place: str
    name: str
    role: Role
    scores: tuple[Score | None, ...]

    @property
    def method(self) -> str:
        """The method's name, of a baseline without the prefix."""
        return self.name.removeprefix(BASELINE)


@dataclass(frozen=True, slots=True)
class OtherTable:
    """The scores of one backbone and task that are no headline."""

    backbone: str
    task: str
    metrics: tuple[str, ...]
    rows: tuple[OtherRow, ...]


def other_tables(results: Mapping[str, Any], layout: Layout) -> list[OtherTable]:
    """Return a table for each task and backbone with any other score over all questions.

    Scores by likelihood and legacy scores have tables of their own.
    """
    return _tables(results, layout, lambda metric: not is_legacy(metric) and metric not in LIKELIHOOD)


def legacy_tables(results: Mapping[str, Any], layout: Layout) -> list[OtherTable]:
    """Return a table for each task and backbone with scores that are there for published tables alone."""
    return _tables(results, layout, is_legacy)


def _tables(results: Mapping[str, Any], layout: Layout, wanted: Callable[[str], bool]) -> list[OtherTable]:
    index = Index(results)
    tasks = dict.fromkeys(figure.task for figure in layout.headline)
    found = [_table(index, layout, name, task, wanted) for task in tasks for name in layout.backbones]
    return [table for table in found if table.metrics and table.rows]


def _table(
    index: Index, layout: Layout, backbone: str, task: str, wanted: Callable[[str], bool]
) -> OtherTable:
    metrics = [
        metric
        for metric in index.metrics(task)
        if wanted(metric) and Headline(task, metric, "all") not in layout.headline
    ]
    places = [(backbone, method) for method in layout.methods] + [
        (NO_BACKBONE, name) for name in index.baselines()
    ]
    rows = []
    for place, method in places:
        scores = tuple(index.score(place, method, Headline(task, metric, "all")) for metric in metrics)
        if any(scores):
            rows.append(OtherRow(place, method, layout.role(method), scores))
    return OtherTable(backbone, task, tuple(metrics), tuple(rows))


class UnscoredLine(NamedTuple):
    """How many answers of a method, over all seeds and conditions, have no score by a metric, and why."""

    task: str
    backbone: str
    method: str
    metric: str
    reason: str
    n: int


def unscored_lines(results: Mapping[str, Any], layout: Layout) -> list[UnscoredLine]:
    """Return what metrics of other packages could not score, methods in the order of the other tables."""
    found: dict[UnscoredLine, int] = defaultdict(int)
    for row in results.get("unscored_metrics") or ():
        own = {name: row[name] for name in UnscoredLine._fields if name != "n"}
        found[UnscoredLine(**own, n=0)] += row["n"]
    lines = [line._replace(n=count) for line, count in found.items()]
    order = {name: place for place, name in enumerate(layout.methods)}
    return sorted(lines, key=lambda line: (*line[:2], order.get(line.method, len(order)), *line[2:]))


def count_outputs(logs: Iterable[EvaluationLog]) -> dict[tuple[str, str, str], Output]:
    """Return the answers' variety and length by (backbone, method, task), with the image."""
    seeds: dict[tuple[str, str, str], list[Output]] = defaultdict(list)
    for log in logs:
        if log.header.condition == "normal" and log.records:
            answers = [record.prediction.strip() for record in log.records]
            words = sum(len(answer.split()) for answer in answers) / len(answers)
            key = (log.header.backbone, log.header.method, log.header.task)
            seeds[key].append(Output(len(set(answers)), len(answers), words))
    return {
        key: Output(min(o.distinct for o in found), found[0].asked, sum(o.words for o in found) / len(found))
        for key, found in seeds.items()
    }
