"""Tables of scores: from the results to rows, without a word about how they are shown."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from medpref.evaluation.alignment import KIND
from medpref.evaluation.comparison import ALL_SEEDS
from medpref.evaluation.metrics import LOWER_IS_BETTER, goodness
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
    """A difference of scores with its 95 % interval; p values are None where no test was made.

    Attributes:
        value: the difference.
        low: the interval's lower end.
        high: its upper end.
        n: the samples behind it.
        p_value: of the test by itself.
        p_study: corrected over all headline comparisons of the study.
        row: the whole row of results.json.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    p_value: float | None = None
    p_study: float | None = None
    row: Row = MappingProxyType({})

    @property
    def distinct(self) -> bool:
        """Whether the p value corrected over the study is below 0.05, and the interval leaves zero out."""
        if self.p_study is None or self.low is None or self.high is None:
            return False
        return self.p_study < LEVEL and (self.low > 0 or self.high < 0)

    @property
    def metric(self) -> str:
        """What it is a difference of."""
        return str(self.row.get("metric", ""))

    @property
    def better(self) -> bool:
        """Whether it is distinct, and for the better."""
        return self.distinct and goodness(self.metric, self.value or 0.0) > 0

    @property
    def worse(self) -> bool:
        """Whether it is distinct, and for the worse."""
        return self.distinct and not self.better

    @property
    def worst_gain(self) -> float | None:
        """The end of the interval that is worse, such that more is better; None without an interval."""
        if self.low is None or self.high is None:
            return None
        return min(goodness(self.metric, self.low), goodness(self.metric, self.high))

    @property
    def verdict(self) -> str:
        """What the test says, in words, so that nothing hangs on a colour."""
        if self.p_study is None:
            return ""
        if not self.distinct:
            return "not significant"
        told = "▲ higher" if (self.value or 0.0) > 0 else "▼ lower"
        if self.metric not in LOWER_IS_BETTER:
            return told
        return f"{told}, which is {'better' if self.better else 'worse'}"


class Ranked(NamedTuple):
    """The ranks that a method may hold, and the letters of the methods that it is not separated from."""

    best: int
    worst: int
    group: str

    @property
    def span(self) -> str:
        """The ranks as text: 1, or 2–4."""
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"


class PairTest(NamedTuple):
    """Two methods by one figure: the difference, first less second, and its p value over the study."""

    first: str
    second: str
    value: float | None
    p_study: float | None

    @property
    def separated(self) -> bool:
        """Whether the p value corrected over all pairs of the study is below 0.05."""
        return self.p_study is not None and self.p_study < LEVEL


@dataclass(frozen=True, slots=True)
class MethodRow:
    """One method by one figure.

    Attributes:
        method: its name, of baselines without the prefix.
        role: what it is in the comparison.
        score: with the image.
        deltas: the differences to the controls that it was compared with.
        blank: the score with the image blanked.
        gaps: what each condition takes away, by its name: the score under the condition's control, less that
            under the condition.
        rank: the ranks that it may hold, None where it was not ranked.
    """

    method: str
    role: Role
    score: Score
    deltas: Mapping[str, Delta]
    blank: Score | None = None
    gaps: Mapping[str, Delta] = field(default_factory=dict)
    rank: Ranked | None = None

    @property
    def gap(self) -> Delta | None:
        """What the image is worth: `score` less `blank`."""
        return self.gaps.get("blank")

    @property
    def best(self) -> bool:
        """Whether tests separate it from every other method, and put it above them."""
        return self.rank is not None and self.rank.worst == 1


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """All methods of one backbone by one figure; `pairs` are the tests of every two."""

    backbone: str
    headline: Headline
    controls: tuple[str, ...]
    rows: tuple[MethodRow, ...]
    baselines: tuple[MethodRow, ...]
    pairs: tuple[PairTest, ...] = ()

    @property
    def has_blank(self) -> bool:
        """Whether any method was asked without the image."""
        return any(row.blank for row in self.rows)

    @property
    def has_ranks(self) -> bool:
        """Whether a ranking is warranted: tests separate some two methods."""
        return any(pair.separated for pair in self.pairs)

    @property
    def conditions(self) -> list[str]:
        """The conditions, beside the blank image, that any method was asked under, in alphabetical order."""
        return sorted({name for row in self.rows for name in row.gaps} - {"blank"})

    @property
    def strongest_baseline(self) -> MethodRow | None:
        """The best score that looks at nothing."""
        scored = [row for row in self.baselines if row.score.value is not None]
        return max(scored, key=self.goodness, default=None)

    def goodness(self, row: MethodRow) -> float:
        """Return a row's score such that more is better."""
        return goodness(self.headline.metric, row.score.value or 0.0)

    def of(self, role: Role) -> list[MethodRow]:
        """Return the rows with a role."""
        return [row for row in self.rows if row.role is role]


class Index:
    """The rows of results.json by what they are about, seeds pooled where there are several."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        """Take results.json."""
        self._scores = _pooled(results["rows"], "backbone", "method", "condition")
        self._deltas = _pooled(results["comparisons"], "backbone", "method", "condition", "control")
        self._gaps = _pooled(results["image_reliance"], "backbone", "method", "condition")
        self._conditions = sorted({row["condition"] for row in results["image_reliance"]})
        self._ranks = _pooled(results["rankings"], "backbone", "method")
        self._pairs: dict[tuple[str, Headline], list[PairTest]] = defaultdict(list)
        for row in results["pairs"]:
            test = PairTest(row["first"], row["second"], row["difference"], row["p_study"])
            self._pairs[row["backbone"], figure_of(row)].append(test)

    def score(self, backbone: str, method: str, figure: Headline, condition: str = "normal") -> Score | None:
        """Return a score, None where there is no such row."""
        row = self._scores.get((backbone, method, condition, *figure))
        if row is None:
            return None
        return Score(row["value"], row["ci_low"], row["ci_high"], row["n"], row.get("sd"), row["unscored"])

    def delta(self, backbone: str, method: str, control: str, figure: Headline) -> Delta | None:
        """Return a method's difference to a control, None where they were not compared."""
        return _delta(self._deltas.get((backbone, method, "normal", control, *figure)))

    def gaps(self, backbone: str, method: str, figure: Headline) -> dict[str, Delta]:
        """Return what each condition that a method was asked under takes away."""
        found = {name: _delta(self._gaps.get((backbone, method, name, *figure))) for name in self._conditions}
        return {name: delta for name, delta in found.items() if delta}

    def rank(self, backbone: str, method: str, figure: Headline) -> Ranked | None:
        """Return the ranks that a method may hold, None where it was not ranked."""
        row = self._ranks.get((backbone, method, *figure))
        return Ranked(row["best"], row["worst"], row["group"]) if row else None

    def pairs(self, backbone: str, figure: Headline) -> tuple[PairTest, ...]:
        """Return the tests of every two methods."""
        return tuple(self._pairs.get((backbone, figure), ()))

    def baselines(self) -> list[str]:
        """Return the baselines' whole names in alphabetical order."""
        return sorted({key[1] for key in self._scores if key[1].startswith(BASELINE)})

    def metrics(self, task: str) -> list[str]:
        """Return the metrics that a task has over all its questions, in alphabetical order."""
        return sorted({key[4] for key in self._scores if key[3] == task and key[5] == "all"})

    def facets(self, task: str) -> dict[str, list[str]]:
        """Return what a task's scores are cut by, question kinds first, and the values in order."""
        slices = {key[5] for key in self._scores if key[3] == task and ":" in key[5]}
        found: dict[str, list[str]] = defaultdict(list)
        for name in sorted(slices, key=lambda name: (not name.startswith(f"{KIND}:"), name)):
            facet, _, value = name.partition(":")
            found[facet].append(value)
        return dict(found)


def _pooled(rows: Iterable[Row], *fields: str) -> dict[tuple[str, ...], Row]:
    found: dict[tuple[str, ...], Row] = {}
    for row in rows:
        key = (*(row[field] for field in fields), *figure_of(row))
        if key not in found or row.get("seed") == ALL_SEEDS:
            found[key] = row
    return found


def _delta(row: Row | None) -> Delta | None:
    if row is None:
        return None
    p_values = row.get("p_value"), row.get("p_study")
    return Delta(row["difference"], row["ci_low"], row["ci_high"], row["n"], *p_values, row)


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
    pairs = index.pairs(backbone, figure)
    return ScoreTable(backbone, figure, controls, tuple(rows), tuple(baselines), pairs)


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
                gaps=index.gaps(backbone, method, figure),
                rank=index.rank(backbone, method, figure),
            )
