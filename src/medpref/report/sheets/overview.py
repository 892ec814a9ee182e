"""The main table as sheets: a column for each score, and one beside it for its difference to the control."""

from collections.abc import Iterable, Iterator

from medpref.report.overview import Overview, OverviewCell, OverviewRow
from medpref.report.sheets.sheet import Cell, Content, Figure, Head, Line, Sheet, file_name
from medpref.report.tables import Delta, Score
from medpref.report.wording import interval, percent, points, points_interval


def overview_sheets(blocks: Iterable[Overview], _: Content) -> Iterator[Sheet]:
    """Yield a sheet for each block of the main table."""
    for block in blocks:
        heads = tuple(
            Head(group.task, tuple(_title(*one) for one in group.columns)) for group in block.groups
        )
        less = f", difference below it to {block.control}, in points" if block.control else ""
        yield Sheet(
            file_name("overview", block.name),
            f"All methods by all tasks, {block.name}: score in %{less}, each with its 95 % interval; the "
            "arrows are of differences that are significant after Holm's correction over the study, bold is "
            "what is separated from every other method",
            ("Method", *_columns(heads, block.control)),
            tuple(Line(tuple(_cells(row)), row.role) for row in (*block.rows, *block.baselines)),
            heads,
        )


def _title(title: str, of: str) -> str:
    return f"{title}, {of}" if of else title


def _columns(heads: Iterable[Head], control: str | None) -> Iterator[str]:
    for head in heads:
        for column in head.columns:
            name = f"{head.title}: {column}"
            yield from (name, f"{name}, difference to {control or 'control'}")


def _cells(row: OverviewRow) -> Iterator[Cell]:
    yield row.method
    for cell in row.cells:
        yield from _pair(cell) if cell else (None, None)


def _pair(cell: OverviewCell) -> tuple[Figure, Figure | None]:
    return _score(cell.score, best=cell.best), _less(cell.delta) if cell.delta else None


def _score(score: Score, *, best: bool) -> Figure:
    sd = "" if score.sd is None else f" sd {percent(score.sd)}"
    text = f"{percent(score.value)} {interval(score.low, score.high)}".strip() + sd
    return Figure(score.value, score.low, score.high, text, sd=score.sd, best=best)


def _less(delta: Delta) -> Figure:
    """Return a difference as the main table shows it, with a mark in place of its p value."""
    mark = f" {delta.verdict[0]}" if delta.distinct else ""
    text = f"{points(delta.value)} {points_interval(delta.low, delta.high)}".strip() + mark
    return Figure(delta.value, delta.low, delta.high, text, delta.p_study)
