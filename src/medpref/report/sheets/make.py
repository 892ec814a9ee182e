"""Every table of a page as a sheet, from the very rows that the page is made of."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from medpref.evaluation.metrics import is_share
from medpref.report.costs import SearchLine
from medpref.report.figures import KindFigure
from medpref.report.inference import FullTests, Matrix
from medpref.report.likelihood import METRICS, LikelihoodTable
from medpref.report.others import OtherTable
from medpref.report.seeds import SeedFigure
from medpref.report.sheets.looking import calibration_sheets, error_sheets, measures, reliability_sheets
from medpref.report.sheets.overview import overview_sheets
from medpref.report.sheets.sheet import Cell, Content, Line, Sheet, delta_cell, file_name, plain, score_cell
from medpref.report.tables import MethodRow, ScoreTable
from medpref.report.wording import metric_title, slice_name

_WITH = "with 95 % intervals"


def make_sheets(content: Content) -> list[Sheet]:
    """Return the sheets of a page.

    Args:
        content: what the page's template is given.

    Returns:
        Them in the page's order, each with a name of its own.
    """
    found: list[Sheet] = []
    names: dict[str, int] = {}
    for key, make in _MAKERS.items():
        for sheet in make(content.get(key) or (), content):
            again = names[sheet.name] = names.get(sheet.name, 0) + 1
            # Names that differ only in what no file name has.
            name = sheet.name if again == 1 else f"{sheet.name}-{again}"
            found.append(replace(sheet, name=name))
    return [sheet for sheet in found if sheet.lines]


def _scores(tables: Iterable[tuple[ScoreTable, Any, Mapping[str, Any]]], _: Content) -> Iterator[Sheet]:
    for table, _drawn, beside in tables:
        place = (table.headline.task, table.headline.metric, table.headline.slice, table.backbone)
        yield _score_sheet(table, file_name("scores", *place))
        tests: FullTests = beside["tests"]
        yield plain(
            file_name("tests", *place), f"Tests and effect sizes: {_title(table)}", tests.columns, tests.rows
        )
        if beside["matrix"]:
            yield _matrix_sheet(beside["matrix"], table, file_name("pairs", *place))


def _title(table: ScoreTable) -> str:
    task, metric, part = table.headline
    return f"{task}, {table.backbone}: {metric_title(metric)}, {slice_name(part)}"


def _score_sheet(table: ScoreTable, name: str) -> Sheet:
    columns = ["Method", "Rank", "Score", "n", *(f"Difference to {name}" for name in table.controls)]
    columns += ["Blank image", "Gap"] if table.has_blank else []

    def line(row: MethodRow) -> Line:
        cells: list[Cell] = [row.method, row.rank.span if row.rank else None]
        cells += [score_cell(row.score, table.headline.metric), row.score.n]
        cells += [delta_cell(row.deltas.get(control)) for control in table.controls]
        cells += (
            [score_cell(row.blank, table.headline.metric), delta_cell(row.gap)] if table.has_blank else []
        )
        return Line(tuple(cells), row.role, row.best)

    caption = f"{_title(table)}, in %, differences in points, {_WITH}; p after Holm over the study"
    return Sheet(name, caption, tuple(columns), tuple(map(line, (*table.rows, *table.baselines))))


def _matrix_sheet(matrix: Matrix, table: ScoreTable, name: str) -> Sheet:
    rows = [
        (method, group, *(f"{cell.value} {cell.mark}".strip() for cell in cells))
        for method, group, cells in zip(matrix.methods, matrix.groups, matrix.cells, strict=True)
    ]
    caption = f"Every two methods, row less column, in points: {_title(table)}"
    return plain(name, caption, ("Method", "Group", *matrix.methods), rows)


def _kinds(figures: Iterable[KindFigure], _: Content) -> Iterator[Sheet]:
    for found in figures:
        lines = [
            (name, *(score_cell(found.score(name, panel), found.metric) for panel in found.panels))
            for name in found.methods
        ]
        yield plain(
            file_name("kinds", found.task, found.metric, found.facet, found.backbone),
            f"{found.task}, {found.backbone}: {metric_title(found.metric)} by {found.facet}, in %, {_WITH}",
            ("Method", *(f"{panel.kind} (n = {panel.n})" for panel in found.panels)),
            lines,
        )


def _seeds(figures: Iterable[SeedFigure], _: Content) -> Iterator[Sheet]:
    for found in figures:
        task, metric, part = found.headline
        yield plain(
            file_name("seeds", *found.headline, found.backbone),
            f"{task}, {found.backbone}: {metric_title(metric)}, {slice_name(part)}, by seed, from 0 to 1",
            ("Method", *(f"Seed {seed}" for seed in found.seeds), "Mean", "sd"),
            [(row.method, *(row.scores.get(s) for s in found.seeds), row.mean, row.sd) for row in found.rows],
        )


def _conditions(tables: Iterable[tuple[ScoreTable, Any]], _: Content) -> Iterator[Sheet]:
    for table, _drawn in tables:
        names = [name for name in ("blank", *table.conditions) if any(name in r.gaps for r in table.rows)]
        lines = [
            (row.method, *(cell for name in names for cell in _gap(row, name)))
            for row in table.rows
            if row.gaps
        ]
        yield plain(
            file_name("conditions", *table.headline, table.backbone),
            f"What each condition takes away, in points, {_WITH}: {_title(table)}",
            ("Method", *(title for name in names for title in (name, f"n, {name}"))),
            lines,
        )


def _gap(row: MethodRow, name: str) -> tuple[Cell, Cell]:
    gap = row.gaps.get(name)
    return delta_cell(gap), gap.n if gap else None


def _likelihood(tables: Iterable[LikelihoodTable], _: Content) -> Iterator[Sheet]:
    for table in tables:
        yield Sheet(
            file_name("likelihood", table.task, table.backbone),
            f"Closed questions by likelihood: {table.task}, {table.backbone}, {slice_name(table.slice)}",
            ("Method", *map(metric_title, METRICS), "n"),
            tuple(
                Line((row.method, *map(score_cell, row.scores, METRICS), row.n), row.role)
                for row in table.rows
            ),
        )


def _others(kind: str, title: str) -> Callable[[Iterable[OtherTable], Content], Iterator[Sheet]]:
    def make(tables: Iterable[OtherTable], content: Content) -> Iterator[Sheet]:
        for table in tables:
            outputs = content["outputs"] if kind == "others" else {}
            more = ("Distinct answers", "Answers", "Words, mean") if outputs else ()
            lines = []
            for row in table.rows:
                said = outputs.get((row.place, row.name, table.task))
                beside: tuple[Cell, ...] = (said.distinct, said.asked, said.words) if said else (None,) * 3
                cells = tuple(map(score_cell, row.scores, table.metrics)) + (beside if outputs else ())
                lines.append(Line((row.method, *cells), row.role))
            unit = "in %" if all(map(is_share, table.metrics)) else "in % but for nats and words"
            yield Sheet(
                file_name(kind, table.task, table.backbone),
                f"{title}: {table.task}, {table.backbone}, {unit}, {_WITH}",
                ("Method", *map(metric_title, table.metrics), *more),
                tuple(lines),
            )

    return make


def _unscored(lines: Sequence[Any], _: Content) -> Iterator[Sheet]:
    columns = ("Method", "Backbone", "Task", "Metric", "Answers", "Reason")
    rows = [(one.method, one.backbone, one.task, one.metric, one.n, one.reason) for one in lines]
    yield plain("unscored", "Answers that a metric could not score", columns, rows)


def _searches(lines: Iterable[SearchLine], _: Content) -> Iterator[Sheet]:
    columns = ("Method", "Backbone", "Seed", "Settings", "Validation score", "n", "Tokens", "Chosen")
    rows = [
        (
            line.search.method,
            line.search.backbone,
            line.search.seed,
            tried.settings,
            tried.candidate.value,
            tried.candidate.n,
            tried.candidate.tokens,
            "yes" if tried.candidate.chosen else "no",
        )
        for line in lines
        for tried in line.tried
    ]
    yield plain("search", "What was tried for each method, and what was chosen", columns, rows)


def _splits(data: Mapping[str, Any], _: Content) -> Iterator[Sheet]:
    counts = (data.get("counts") or {}) if data else {}
    rows = [(name, count.get("rows"), count.get("images")) for name, count in counts.items()]
    yield plain("splits", "Splits", ("Split", "Rows", "Images"), rows)


def _named(
    name: str, caption: str, columns: Sequence[str]
) -> Callable[[Iterable[Any], Content], Iterator[Sheet]]:
    """Return what makes one table of rows that are tuples already."""

    def make(rows: Iterable[Any], _: Content) -> Iterator[Sheet]:
        yield plain(name, caption, columns, [tuple(row) for row in rows])

    return make


_MAKERS: Mapping[str, Callable[[Any, Content], Iterator[Sheet]]] = {
    "overviews": overview_sheets,
    "tables": _scores,
    "likelihood": _likelihood,
    "unscored": _unscored,
    "others": _others("others", "Other scores"),
    "legacy": _others("legacy", "Legacy scores, for published tables"),
    "kind_figures": _kinds,
    "seed_figures": _seeds,
    "reliance": _conditions,
    "flips": measures("flips", "Mirror images"),
    "consistency": measures("consistency", "Other wordings"),
    "calibration": calibration_sheets,
    "plots": reliability_sheets,
    "errors": error_sheets,
    "searches": _searches,
    "data": _splits,
    "methods": _named("methods", "Methods", ("Method", "Objective", "Own settings", "Pairs")),
    "hashes": _named("hashes", "Hashes", ("Part", "Name", "Holds", "Hash")),
    "stages": _named("stages", "Time of each stage", ("Stage", "Seconds", "Share of the slowest")),
}
"""By the part of the page's content that the rows are in."""
