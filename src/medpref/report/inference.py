"""What stands beside a table of scores: its tests in full, its ranks, and what it could not have shown."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from medpref.evaluation.power import images_needed
from medpref.report.layout import Layout
from medpref.report.tables import Delta, PairTest, ScoreTable
from medpref.report.wording import (
    ABSENT,
    counted,
    effect,
    number,
    p_value,
    percent,
    points,
    points_interval,
)

_WANTED = 0.02
_FEWEST = 10


class FullTests(NamedTuple):
    """Every test of a table's differences; columns that say nothing are left out."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Cell(NamedTuple):
    """One method less another, in words; empty on the diagonal."""

    value: str
    mark: str


class Matrix(NamedTuple):
    """Every two methods: `cells` has a row for each method, and the same methods as columns."""

    methods: tuple[str, ...]
    groups: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]


def _figure(name: str, worded: Callable[[Any], str]) -> Callable[[Delta], str]:
    return lambda delta: worded(delta.row.get(name))


def _bootstrap(delta: Delta) -> str:
    if "boot_low" not in delta.row:
        return ABSENT
    return points_interval(delta.row["boot_low"], delta.row["boot_high"])


def _discordant(delta: Delta) -> str:
    b, c = delta.row.get("b"), delta.row.get("c")
    return ABSENT if b is None or c is None else f"{number(b)} : {number(c)}"


_COLUMNS: Mapping[str, Callable[[Delta], str]] = {
    "Difference": lambda d: f"{points(d.value)} {points_interval(d.low, d.high)}".strip(),
    "Bootstrap": _bootstrap,
    "p, permutation": _figure("p_value", p_value),
    "p, seeds (t)": _figure("p_seeds", p_value),
    "df": _figure("df", number),
    "Right alone": _discordant,
    "p, McNemar": _figure("p_mcnemar", p_value),
    "p, McNemar, clustered": _figure("p_mcnemar_clustered", p_value),
    "p, Holm, this figure": _figure("p_holm", p_value),
    "p, Holm, study": _figure("p_study", p_value),
    "d_z": _figure("d_z", effect),
    "h": _figure("cohens_h", effect),
    "Odds ratio": _figure("odds_ratio", number),
    "sd, images": _figure("sd_images", percent),
    "sd, seeds": _figure("sd_seeds", percent),
    "Detectable": _figure("detectable", percent),
}


def full_tests(table: ScoreTable) -> FullTests:
    """Return every test of every method against every control."""
    deltas = [(row.method, control, row.deltas[control]) for row in table.rows for control in row.deltas]
    cells = [[worded(delta) for worded in _COLUMNS.values()] for _, _, delta in deltas]
    told = [place for place in range(len(_COLUMNS)) if any(line[place] != ABSENT for line in cells)]
    titles = list(_COLUMNS)
    rows = [
        (method, control, *(line[place] for place in told))
        for (method, control, _), line in zip(deltas, cells, strict=True)
    ]
    return FullTests(("Method", "Control", *(titles[place] for place in told)), tuple(rows))


def pair_matrix(table: ScoreTable) -> Matrix | None:
    """Return every two methods' difference; None for fewer than three, which the table compares."""
    names = [row.method for row in table.rows if row.rank]
    if len(names) < 3:
        return None
    tests = {(test.first, test.second): test for test in table.pairs}
    groups = [row.rank.group for row in table.rows if row.rank]
    cells = tuple(tuple(_cell(tests, one, two) for two in names) for one in names)
    return Matrix(tuple(names), tuple(groups), cells)


def _cell(tests: Mapping[tuple[str, str], PairTest], one: str, two: str) -> Cell:
    found, sign = tests.get((one, two)), 1
    if found is None:
        found, sign = tests.get((two, one)), -1
    if found is None or found.value is None:
        return Cell("", "")
    value = sign * found.value
    mark = ("▲" if value > 0 else "▼") if found.separated else ""
    return Cell(points(value), mark)


def ranking_sentence(table: ScoreTable) -> str:
    """Say whether the methods may be ranked."""
    if not table.pairs:
        return ""
    apart = sum(pair.separated for pair in table.pairs)
    if not apart:
        return "No ranking is warranted: no two methods are separated."
    told = (
        f"{apart} of {counted(len(table.pairs), 'pair')} of methods {'is' if apart == 1 else 'are'} separated"
    )
    # With every pair apart, each rank is one number.
    if apart == len(table.pairs):
        return f"{told}."
    return f"{told}; where ranks are a span, such as 2–4, each of them is possible."


def detectable_sentence(table: ScoreTable, control: str | None) -> str:
    """Say what difference to the main control the test could have shown, and what 2 points would take.

    Empty where nothing was compared.
    """
    rows = [row.deltas[control].row for row in table.rows if control in row.deltas] if control else []
    known = [row for row in rows if row.get("detectable") is not None]
    if not known:
        return ""
    # A variance from a handful of differing answers is no estimate of what other answers would do.
    known = [row for row in known if row["b"] is None or row["b"] + row["c"] >= _FEWEST]
    if not known:
        return f"Too few answers differ from {control}’s to say what difference the test could show."
    least, most = (percent(end(row["detectable"] for row in known)) for end in (min, max))
    size = least if least == most else f"{least} to {most}"
    images = max(row["images"] for row in known)
    return (
        f"These {counted(images, 'image')} show a true difference to {control} of {size} points with "
        f"80\u00a0% power (two-sided, α = 0.05, before correction). {_needed(known)}"
    )


def _needed(rows: Sequence[Mapping[str, Any]]) -> str:
    images, noise = (median(row[name] or 0.0 for row in rows) for name in ("sd_images", "sd_seeds"))
    seeds = rows[0]["seeds"]
    needed = images_needed(_WANTED, images, sd_seeds=noise, seeds=seeds)
    if needed is None:
        return f"No number of images would show 2 points with {counted(seeds, 'seed')}: they differ too much."
    about = f"about {_rounded(needed):,} such images"
    beside = f" with {counted(seeds, 'seed')}" if seeds > 1 else ""
    return f"To show 2 points would take {about}{beside}."


def _rounded(count: int) -> int:
    """Return a count to two digits: it rests on an estimate."""
    return int(float(f"{count:.2g}"))


def family_sentence(results: Mapping[str, Any], layout: Layout) -> str:
    """Say which tests the marks are corrected for."""
    control = layout.main_control
    count = results["families"]["comparisons"].get(control)
    if not count:
        return ""
    pairs = results["families"]["pairs"]
    return (
        f"A difference to {control} is marked where its p value is below 0.05 after Holm’s correction over "
        f"{counted(count, 'test')}: every method against {control} on every backbone, task and headline "
        f"figure of the study; other controls have families of their own. Ranks are corrected over all "
        f"{counted(pairs, 'pair')} of methods in the study."
    )
