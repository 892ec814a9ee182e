"""The tables of how far answers come from the image, how sure they are, and in what they err."""

from collections.abc import Callable, Iterable, Iterator

from medpref.report.looking import errors
from medpref.report.looking.answers import MeasureTable
from medpref.report.looking.calibration import MEASURES, CalibrationTable, PlotFigure
from medpref.report.looking.errors import ErrorTable
from medpref.report.sheets.sheet import Content, Figure, Line, Sheet, file_name, plain, score_cell
from medpref.report.tables import Score
from medpref.report.wording import decimals, decimals_interval

_SHARE = "accuracy"
"""Any metric whose values are shares."""
_WITH = "with 95 % intervals"


def measures(kind: str, title: str) -> Callable[[Iterable[MeasureTable], Content], Iterator[Sheet]]:
    """Return what makes the sheets of shares of what answers did."""

    def make(tables: Iterable[MeasureTable], _: Content) -> Iterator[Sheet]:
        for table in tables:
            condition = [table.condition] if table.condition else []
            yield Sheet(
                file_name(kind, table.task, *condition, table.backbone),
                f"{title}: {', '.join([table.task, *condition, table.backbone])}, in %, {_WITH}",
                ("Method", *table.measures, "n"),
                tuple(
                    Line((row.method, *(score_cell(s, _SHARE) for s in row.scores), row.n), row.role)
                    for row in table.rows
                ),
            )

    return make


def calibration_sheets(tables: Iterable[CalibrationTable], _: Content) -> Iterator[Sheet]:
    """Yield a sheet for each table of calibration."""
    for table in tables:
        yield Sheet(
            file_name("calibration", table.task, table.condition, table.backbone),
            f"Calibration: {table.task}, {table.backbone}, {table.condition}, in %, Brier scores from 0 to "
            f"1, {_WITH}",
            ("Method", *MEASURES, "n"),
            tuple(
                Line((row.method, *(_measure(row.scores[name], name) for name in MEASURES), row.n), row.role)
                for row in table.rows
            ),
        )


def _measure(score: Score | None, name: str) -> Figure | None:
    """Return a measure of calibration as a cell; a Brier score is no share."""
    cell = score_cell(score, _SHARE)
    if score is None or cell is None or not name.startswith("brier"):
        return cell
    return cell._replace(text=f"{decimals(score.value)} {decimals_interval(score.low, score.high)}".strip())


def reliability_sheets(figures: Iterable[PlotFigure], _: Content) -> Iterator[Sheet]:
    """Yield the bins of each reliability plot."""
    for found in figures:
        yield plain(
            file_name("reliability", found.task, found.backbone),
            f"Reliability: {found.task}, {found.backbone}, seed {found.seed}, in %, {_WITH}",
            ("Method", "Bin", "p low", "p high", "p mean", "Right answer is yes", "n"),
            [
                (
                    plot.method,
                    number,
                    each.low,
                    each.high,
                    each.mean,
                    score_cell(each.share, _SHARE),
                    each.share.n,
                )
                for plot in found.plots
                for number, each in enumerate(plot.bins, start=1)
            ],
        )


def error_sheets(tables: Iterable[ErrorTable], _: Content) -> Iterator[Sheet]:
    """Yield the shares of kinds of errors with their counts."""
    for table in tables:
        of = "the wrong answers" if table.measure == "of_errors" else "all scored answers"
        columns = [title for kind in errors.COLUMNS for title in (errors.NAMES[kind], f"n, {kind}")]
        yield Sheet(
            file_name("errors", table.task, table.measure, table.backbone),
            f"Kinds of errors, shares of {of}: {table.task}, {table.backbone}, in %, {_WITH}",
            ("Method", "Told by", *columns, "Answers"),
            tuple(
                Line(
                    (
                        row.method,
                        row.by,
                        *(c for cell in row.cells for c in (score_cell(cell.score, _SHARE), cell.answers)),
                        row.n,
                    ),
                    row.role,
                )
                for row in table.rows
            ),
        )
