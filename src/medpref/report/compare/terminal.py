"""A comparison in the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from medpref.report.compare.differences import Difference, score
from medpref.report.compare.studies import Study
from medpref.report.compare.tables import StudyRow, StudyTable, study_tables, warnings
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


def print_comparison(studies: Sequence[Study], differences: Sequence[Difference], console: Console) -> None:
    """Print a table for each figure and study, narrow enough for 80 columns, and the warnings."""
    first = studies[0]
    for table in study_tables(studies, differences):
        for other in studies[1:]:
            rows = [row for row in table.rows if other.label in row.differences]
            if rows:
                _print(table, rows, (first.label, other.label), console)
    for text in warnings(studies, differences):
        console.print(Text(f"! {text}"), highlight=False)
    told = "In %, with 95 % intervals; p after Holm over all differences, * below 0.05; ~ not paired."
    console.print(Text(told, style="dim"), highlight=False)


def _print(table: StudyTable, rows: Sequence[StudyRow], labels: tuple[str, str], console: Console) -> None:
    task, metric, part = table.headline
    first, other = labels
    console.print(Text(f"{other} less {first} / {task} / {metric_name(metric)}, {slice_name(part)}", "bold"))
    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="underline")
    shown.add_column("method", overflow="fold", max_width=20)
    for title in labels:
        shown.add_column(Text(title), overflow="fold", max_width=18)
    shown.add_column("difference", no_wrap=True)
    shown.add_column("p", justify="right", no_wrap=True)
    for row in rows:
        one = row.differences[other]
        found = [score(side, table.headline) for side in (one.first, one.second)]
        scores = [f"{percent(s.value)} {interval(s.low, s.high)}" if s else "" for s in found]
        delta = one.delta
        ends = points_interval(delta.low, delta.high, _HYPHEN)
        told = f"{points(delta.value, _HYPHEN):>5} {ends}{'' if one.paired else ' ~'}"
        p = p_value(delta.p_study) + ("*" if delta.distinct else "")
        shown.add_row(*map(Text, (row.method, *scores, told, p)))
    console.print(shown, highlight=False)
    console.print()
