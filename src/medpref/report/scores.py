"""An evaluation's scores in the terminal: a row for each figure, a column for each model and baseline."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from medpref.evaluation.metrics import Unit, is_legacy, unit
from medpref.report.wording import figure, figure_interval, metric_name

Row = Mapping[str, Any]
_BASELINE = "baseline:"
BASELINES = ("yes-or-no", "word-dump", "majority-by-kind")
"""The baselines that are shown, where they were scored."""
FIRST = ("all", "closed", "open")


def print_scores(results: Mapping[str, Any], console: Console) -> None:
    """Print all scores over all, closed and open questions, in per cent with their 95 % intervals.

    Args:
        results: the content of results.json.
        console: where to.
    """
    for task in sorted({row["task"] for row in results["rows"]}):
        rows = [row for row in results["rows"] if row["task"] == task]
        for condition in sorted(
            {row["condition"] for row in rows}, key=lambda name: (name != "normal", name)
        ):
            _print_table([row for row in rows if row["condition"] == condition], task, condition, console)
    console.print(
        Text(
            "In % with 95 % intervals, but for nats and words. Legacy scores are for published tables alone.",
            style="dim",
        )
    )


def _print_table(rows: Sequence[Row], task: str, condition: str, console: Console) -> None:
    methods = list(dict.fromkeys(row["method"] for row in rows))
    models = [name for name in methods if not name.startswith(_BASELINE)]
    beside = [name for name in BASELINES if _BASELINE + name in methods]
    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="underline")
    shown.add_column("score", overflow="fold", max_width=24)
    shown.add_column("of", no_wrap=True)
    for name in models:
        # Narrow columns break between figures, never within one.
        shown.add_column(Text(name), overflow="fold")
    unscored = any(row["unscored"] for row in rows)
    for column in ("n", *(("unscored",) if unscored else ()), *beside):
        shown.add_column(Text(column), justify="right", overflow="fold")
    by_method = {(row["method"], row["metric"], row["slice"]): row for row in rows}
    for metric, part in _figures(rows):
        found = [by_method.get((name, metric, part)) for name in models]
        if not any(found):
            continue
        counted = next(row for row in found if row)
        baselines = [by_method.get((_BASELINE + name, metric, part)) for name in beside]
        shown.add_row(
            Text(_title(metric)),
            Text(part),
            *(_with_interval(row, metric) for row in found),
            Text(f"{counted['n']:,}"),
            *([Text(f"{counted['unscored']:,}" if counted["unscored"] else "")] if unscored else []),
            *(Text(_value(row, metric), style="dim") for row in baselines),
        )
    console.print(Text(f"{task}, {condition}" if condition != "normal" else task, style="bold"))
    console.print(shown, highlight=False)
    console.print()


def _title(metric: str) -> str:
    """Return a metric's name, with its unit where that is neither per cent nor clear."""
    return f"{metric_name(metric)}, nats" if unit(metric) is Unit.NATS else metric_name(metric)


def _figures(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Return each metric with the first slice that has all of its samples; legacy scores last."""
    n: dict[tuple[str, str], int] = {}
    for row in rows:
        key = row["metric"], row["slice"]
        n[key] = max(n.get(key, 0), row["n"])
    found = []
    for metric in dict.fromkeys(metric for metric, _ in n):
        whole = n.get((metric, "all"), 0)
        parts = [part for part in ("closed", "open", "all") if n.get((metric, part)) == whole]
        found.append((metric, parts[0] if parts else "all"))
    return sorted(found, key=lambda item: (is_legacy(item[0]), item[1] != "closed", item[0]))


def _with_interval(row: Row | None, metric: str) -> Text:
    if row is None or row["value"] is None:
        return Text("")
    return Text(f"{_value(row, metric):>5} {figure_interval(row['ci_low'], row['ci_high'], metric)}".rstrip())


def _value(row: Row | None, metric: str) -> str:
    if row is None or row["value"] is None:
        return ""
    return figure(row["value"], metric)
