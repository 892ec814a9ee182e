"""The main table: every method by every headline figure of a backbone, side by side."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from medpref.evaluation.metrics import LOWER_IS_BETTER
from medpref.report.layout import Layout, Role
from medpref.report.tables import Delta, MethodRow, Score, ScoreTable
from medpref.report.wording import metric_name, slice_name


class OverviewCell(NamedTuple):
    """A method's score by one figure.

    Attributes:
        score: with its 95 % interval, over all seeds.
        delta: the difference to the main control; None where they were not compared.
        best: whether it is the best of its column, and tests separate it from every other ranked method.
    """

    score: Score
    delta: Delta | None
    best: bool


class OverviewColumn(NamedTuple):
    """The head of a column: what it shows, of which questions."""

    title: str
    of: str


class OverviewGroup(NamedTuple):
    """The columns of one task."""

    task: str
    columns: tuple[OverviewColumn, ...]


class OverviewRow(NamedTuple):
    """One method, or a baseline; None where it has no such score."""

    method: str
    role: Role
    cells: tuple[OverviewCell | None, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """One block of the main table.

    Attributes:
        name: the backbone; of a study with one figure alone that figure, for the columns are backbones.
        control: what the differences are to; None where nothing was compared.
        groups: the columns by task.
        rows: the methods, controls first.
        baselines: what never sees the image.
    """

    name: str
    control: str | None
    groups: tuple[OverviewGroup, ...]
    rows: tuple[OverviewRow, ...]
    baselines: tuple[OverviewRow, ...]

    @property
    def width(self) -> int:
        """The number of columns beside the methods' names."""
        return sum(len(group.columns) for group in self.groups)


def overviews(tables: Sequence[ScoreTable], layout: Layout) -> list[Overview]:
    """Return the main table: a block for each backbone, or for one figure alone a column for each backbone.

    A single table of scores needs no overview: it would say the same.

    Args:
        tables: the tables of scores.
        layout: the order of methods.
    """
    if len(tables) < 2:
        return []
    figures = dict.fromkeys(table.headline for table in tables)
    if len(figures) == 1:
        (figure,) = figures
        columns = [OverviewColumn(table.backbone, "") for table in tables]
        return [_block(_figure_name(figure.metric, figure.slice), tables, columns, layout)]
    tasks = list(dict.fromkeys(figure.task for figure in figures))
    found = []
    for backbone in dict.fromkeys(table.backbone for table in tables):
        own = [table for table in tables if table.backbone == backbone]
        own.sort(key=lambda table: tasks.index(table.headline.task))
        columns = [OverviewColumn(_title(one.headline.metric), slice_name(one.headline.slice)) for one in own]
        found.append(_block(backbone, own, columns, layout))
    return found


def _title(metric: str) -> str:
    return metric_name(metric) + (" (less is better)" if metric in LOWER_IS_BETTER else "")


def _figure_name(metric: str, part: str) -> str:
    return f"{_title(metric)}, {slice_name(part)}"


def _block(
    name: str, tables: Sequence[ScoreTable], columns: Sequence[OverviewColumn], layout: Layout
) -> Overview:
    pairs = zip(tables, columns, strict=True)
    groups = tuple(
        OverviewGroup(task, tuple(column for _, column in of))
        for task, of in groupby(pairs, key=lambda pair: pair[0].headline.task)
    )
    control = layout.main_control
    compared = any(control in row.deltas for table in tables for row in table.rows)
    return Overview(
        name,
        control if compared else None,
        groups,
        tuple(_rows(layout.methods, [(table, table.rows) for table in tables], control)),
        tuple(_rows(_names(tables), [(table, table.baselines) for table in tables], control)),
    )


def _names(tables: Iterable[ScoreTable]) -> list[str]:
    """Return the baselines of any task in alphabetical order."""
    return sorted({row.method for table in tables for row in table.baselines})


def _rows(
    methods: Iterable[str],
    columns: Sequence[tuple[ScoreTable, Sequence[MethodRow]]],
    control: str | None,
) -> Iterator[OverviewRow]:
    found = [{row.method: (table, row) for row in rows} for table, rows in columns]
    for method in methods:
        own = [column.get(method) for column in found]
        role = next((pair[1].role for pair in own if pair), None)
        if role is not None:
            yield OverviewRow(method, role, tuple(_cell(*pair, control) if pair else None for pair in own))


def _cell(table: ScoreTable, row: MethodRow, control: str | None) -> OverviewCell:
    return OverviewCell(row.score, row.deltas.get(control or ""), _is_best(table, row))


def _is_best(table: ScoreTable, row: MethodRow) -> bool:
    """Return whether a row is separated from all others that are ranked, and none that is not is above it."""
    if not (table.has_ranks and row.best and row.score.value is not None):
        return False
    scored = [other for other in table.rows if other.score.value is not None]
    return table.goodness(row) == max(map(table.goodness, scored))
