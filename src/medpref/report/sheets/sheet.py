"""What a table holds, whichever file it is written to."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from medpref.report.layout import Role
from medpref.report.tables import Delta, Score
from medpref.report.wording import figure, figure_interval, p_equals, points, points_interval


class Figure(NamedTuple):
    """A number with its interval.

    Attributes:
        value, low, high: the number and the ends of its 95 % interval, in the unit of the results.
        text: the number with its interval, as pages show it.
        p_value: the corrected p value, None where no test was made.
        sd: the standard deviation over seeds, None for a single one.
        best: whether it is set in bold.
    """

    value: float | None
    low: float | None
    high: float | None
    text: str
    p_value: float | None = None
    sd: float | None = None
    best: bool = False


Content = Mapping[str, Any]
"""What a page's template is given."""

Cell = str | int | float | Figure | None


class Line(NamedTuple):
    """One row; a `best` one is set in bold."""

    cells: tuple[Cell, ...]
    role: Role | None = None
    best: bool = False


class Head(NamedTuple):
    """The heads of columns that belong together, below a title of their own."""

    title: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table.

    Attributes:
        name: of its files, without an ending.
        caption: what it shows, in which unit.
        columns: the titles; every line has as many cells.
        lines: the rows.
        stacked: where given, the columns behind the first are pairs of a score and a difference, and these
            are the heads of the pairs; LaTeX sets the difference below its score.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    stacked: tuple[Head, ...] = ()

    def __post_init__(self) -> None:
        wrong = [line for line in self.lines if len(line.cells) != len(self.columns)]
        if wrong:
            raise ValueError(f"{self.name}: a line has {len(wrong[0].cells)} cells for {self.columns}")


def score_cell(score: Score | None, metric: str) -> Figure | None:
    """Return a score as a cell."""
    if score is None:
        return None
    text = f"{figure(score.value, metric)} {figure_interval(score.low, score.high, metric)}".strip()
    return Figure(score.value, score.low, score.high, text, sd=score.sd)


def delta_cell(delta: Delta | None) -> Figure | None:
    """Return a difference as a cell, with its corrected p value and the sign of a distinct one."""
    if delta is None:
        return None
    text = f"{points(delta.value)} {points_interval(delta.low, delta.high)}".strip()
    if delta.p_study is not None:
        text += f", p {p_equals(delta.p_study)}"
    if delta.distinct:
        text += " ▲" if (delta.value or 0.0) > 0 else " ▼"
    return Figure(delta.value, delta.low, delta.high, text, delta.p_study)


def file_name(*parts: str) -> str:
    """Return a file's name made of `parts`; what is no letter, digit, dot or hyphen becomes a hyphen."""
    return ".".join(re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip(".-") or "x" for part in parts)


def plain(title: str, caption: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Sheet:
    """Return a table whose rows have no roles."""
    return Sheet(title, caption, tuple(columns), tuple(Line(tuple(row)) for row in rows))
