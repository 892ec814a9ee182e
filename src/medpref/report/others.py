"""What stands beside the headline: the other scores, and how varied and how long the answers are."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from medpref.evaluation.log import EvaluationLog
from medpref.report.layout import BASELINE, NO_BACKBONE, Headline, Layout, Role
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
    """Return a table for each task and backbone that has any other score over all questions."""
    index = Index(results)
    tasks = dict.fromkeys(figure.task for figure in layout.headline)
    found = [_other_table(index, layout, name, task) for task in tasks for name in layout.backbones]
    return [table for table in found if table.metrics and table.rows]


def _other_table(index: Index, layout: Layout, backbone: str, task: str) -> OtherTable:
    metrics = [m for m in index.metrics(task) if Headline(task, m, "all") not in layout.headline]
    places = [(backbone, method) for method in layout.methods] + [
        (NO_BACKBONE, name) for name in index.baselines()
    ]
    rows = []
    for place, method in places:
        scores = tuple(index.score(place, method, Headline(task, metric, "all")) for metric in metrics)
        if any(scores):
            rows.append(OtherRow(place, method, layout.role(method), scores))
    return OtherTable(backbone, task, tuple(metrics), tuple(rows))


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
