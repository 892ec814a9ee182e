"""Tables of scores: from the results to rows, without a word about how they are shown."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from medpref.evaluation.results import ALL_SEEDS
from medpref.report.layout import BASELINE, NO_BACKBONE, Headline, Layout, Role, Row, figure_of

LEVEL = 0.05


class Score(NamedTuple):
    """A score in [0, 1] with its 95 % interval; `sd` is over seeds, None for a single one."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    sd: float | None = None
    unscored: int = 0


class Delta(NamedTuple):
    """A difference of scores with its 95 % interval; p values are None where no test was made."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    p_value: float | None = None
    p_holm: float | None = None

    @property
    def distinct(self) -> bool:
        """Whether the corrected p value is below 0.05, and the interval lies on one side of zero.

        With several seeds the interval covers their noise, which the p value takes as given.
        """
        if self.p_holm is None or self.low is None or self.high is None:
            return False
        return self.p_holm < LEVEL and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class MethodRow:
    """One method by one figure.

    Attributes:
        method: its name, of baselines without the prefix.
        role: what it is in the comparison.
        score: with the image.
        deltas: the differences to the controls that it was compared with.
        blank: the score with the image blanked.
        gap: what the image is worth: `score` less `blank`.
        best: whether it has the highest score, and more than the main control by the corrected test.
    """

    method: str
    role: Role
    score: Score
    deltas: Mapping[str, Delta]
    blank: Score | None = None
    gap: Delta | None = None
    best: bool = False


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """All methods of one backbone by one figure."""

    backbone: str
    headline: Headline
    controls: tuple[str, ...]
    rows: tuple[MethodRow, ...]
    baselines: tuple[MethodRow, ...]

    @property
    def has_blank(self) -> bool:
        """Whether any method was asked without the image."""
        return any(row.blank for row in self.rows)

    @property
    def strongest_baseline(self) -> MethodRow | None:
        """The highest score that looks at nothing."""
        scored = [row for row in self.baselines if row.score.value is not None]
        return max(scored, key=lambda row: row.score.value or 0.0, default=None)

    def of(self, role: Role) -> list[MethodRow]:
        """Return the rows with a role."""
        return [row for row in self.rows if row.role is role]


class Index:
    """The rows of results.json by what they are about, seeds pooled where there are several."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        """Take results.json."""
        self._scores = _pooled(results["rows"], "backbone", "method", "condition")
        self._deltas = _pooled(results["comparisons"], "backbone", "method", "condition", "control")
        self._gaps = _pooled(results["image_reliance"], "backbone", "method")

    def score(self, backbone: str, method: str, figure: Headline, condition: str = "normal") -> Score | None:
        """Return a score, None where there is no such row."""
        row = self._scores.get((backbone, method, condition, *figure))
        if row is None:
            return None
        return Score(row["value"], row["ci_low"], row["ci_high"], row["n"], row.get("sd"), row["unscored"])

    def delta(self, backbone: str, method: str, control: str, figure: Headline) -> Delta | None:
        """Return a method's difference to a control, None where they were not compared."""
        return _delta(self._deltas.get((backbone, method, "normal", control, *figure)))

    def gap(self, backbone: str, method: str, figure: Headline) -> Delta | None:
        """Return what the image is worth to a method, None where it was not asked without."""
        return _delta(self._gaps.get((backbone, method, *figure)))

    def baselines(self) -> list[str]:
        """Return the baselines' whole names in alphabetical order."""
        return sorted({key[1] for key in self._scores if key[1].startswith(BASELINE)})

    def metrics(self, task: str) -> list[str]:
        """Return the metrics that a task has over all its questions, in alphabetical order."""
        return sorted({key[4] for key in self._scores if key[3] == task and key[5] == "all"})

    def kinds(self, task: str) -> list[str]:
        """Return the question kinds that a task has scores for, in alphabetical order."""
        slices = {key[5] for key in self._scores if key[3] == task}
        return sorted(name.removeprefix("kind:") for name in slices if name.startswith("kind:"))


def _pooled(rows: Iterable[Row], *fields: str) -> dict[tuple[str, ...], Row]:
    found: dict[tuple[str, ...], Row] = {}
    for row in rows:
        key = (*(row[field] for field in fields), *figure_of(row))
        if key not in found or row["seed"] == ALL_SEEDS:
            found[key] = row
    return found


def _delta(row: Row | None) -> Delta | None:
    if row is None:
        return None
    p_values = row.get("p_value"), row.get("p_holm")
    return Delta(row["difference"], row["ci_low"], row["ci_high"], row["n"], *p_values)


def score_tables(results: Mapping[str, Any], layout: Layout) -> list[ScoreTable]:
    """Return one table for each figure and backbone that has scores."""
    index = Index(results)
    tables = [_table(index, layout, name, figure) for figure in layout.headline for name in layout.backbones]
    return [table for table in tables if table.rows]


def _table(index: Index, layout: Layout, backbone: str, figure: Headline) -> ScoreTable:
    rows = list(_method_rows(index, layout, backbone, figure))
    baselines = [
        MethodRow(name.removeprefix(BASELINE), Role.BASELINE, score, {})
        for name in index.baselines()
        if (score := index.score(NO_BACKBONE, name, figure))
    ]
    controls = tuple(name for name in layout.controls if any(name in row.deltas for row in rows))
    return ScoreTable(
        backbone, figure, controls, tuple(_mark_best(rows, layout.main_control)), tuple(baselines)
    )


def _method_rows(index: Index, layout: Layout, backbone: str, figure: Headline) -> Iterator[MethodRow]:
    for method in layout.methods:
        score = index.score(backbone, method, figure)
        if score:
            found = {name: index.delta(backbone, method, name, figure) for name in layout.controls}
            yield MethodRow(
                method=method,
                role=layout.role(method),
                score=score,
                deltas={name: delta for name, delta in found.items() if delta},
                blank=index.score(backbone, method, figure, "blank"),
                gap=index.gap(backbone, method, figure),
            )


def _mark_best(rows: Sequence[MethodRow], control: str | None) -> list[MethodRow]:
    top = max((row.score.value for row in rows if row.score.value is not None), default=None)
    return [
        replace(row, best=row.score.value == top and _beats(row.deltas.get(control or ""))) for row in rows
    ]


def _beats(delta: Delta | None) -> bool:
    return delta is not None and delta.distinct and (delta.value or 0.0) > 0
