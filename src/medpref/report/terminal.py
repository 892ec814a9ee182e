"""The main table in the terminal, narrow enough for 80 columns."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from medpref.report.inference import detectable_sentence, ranking_sentence
from medpref.report.layout import Role, make_layout
from medpref.report.tables import MethodRow, ScoreTable, score_tables
from medpref.report.wording import (
    interval,
    metric_name,
    p_value,
    percent,
    points,
    points_interval,
    slice_name,
)

_HYPHEN = "-"


def print_table(results: Mapping[str, Any], console: Console) -> None:
    """Print every method by every headline figure, scores in per cent.

    Args:
        results: the content of results.json.
        console: where to; without a terminal the table is plain text.
    """
    layout = make_layout(results)
    for table in score_tables(results, layout):
        console.print(_title(table), highlight=False)
        console.print(_table(table, layout.main_control), highlight=False)
        for sentence in (ranking_sentence(table), detectable_sentence(table, layout.main_control)):
            if sentence:
                console.print(Text(sentence, style="dim"), highlight=False)
        console.print()
    console.print(Text("In %, with 95 % intervals; p after Holm over the study, * below 0.05."), style="dim")


def _title(table: ScoreTable) -> Text:
    task, metric, part = table.headline
    n = max(row.score.n for row in table.rows)
    return Text(
        f"{table.backbone} / {task} / {metric_name(metric)}, {slice_name(part)} (n = {n:,})", style="bold"
    )


def _table(table: ScoreTable, control: str | None) -> Table:
    control = control if control in table.controls else None
    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="underline")
    shown.add_column("method", overflow="fold", max_width=20)
    if table.has_ranks:
        shown.add_column("rank", no_wrap=True)
    shown.add_column("score", no_wrap=True)
    if control:
        shown.add_column(Text(f"less {control}"), no_wrap=True)
        shown.add_column("p", justify="right", no_wrap=True)
    if table.has_blank:
        shown.add_column("blank", justify="right", no_wrap=True)
    for row in (*table.rows, *table.baselines):
        style = "dim" if row.role is Role.BASELINE else None
        shown.add_row(*_cells(row, table, control), style=style)
    return shown


def _cells(row: MethodRow, table: ScoreTable, control: str | None) -> list[Text]:
    cells = [Text(row.method, style="bold" if row.best else "")]
    if table.has_ranks:
        cells.append(Text(row.rank.span.replace("–", _HYPHEN) if row.rank else ""))
    cells.append(Text(f"{percent(row.score.value):>5} {interval(row.score.low, row.score.high)}"))
    if control:
        cells += [Text(text) for text in _difference(row, control)]
    if table.has_blank:
        cells.append(Text(percent(row.blank.value) if row.blank else ""))
    return cells


def _difference(row: MethodRow, control: str) -> tuple[str, str]:
    delta = row.deltas.get(control)
    if delta is None:
        return "", ""
    figures = points(delta.value, _HYPHEN), points_interval(delta.low, delta.high, _HYPHEN)
    return f"{figures[0]:>5} {figures[1]}", p_value(delta.p_study) + ("*" if delta.distinct else "")
