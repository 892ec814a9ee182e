"""Corrections for the number of a study's tests, and the ranks that are left after them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from medpref.evaluation.alignment import NORMAL
from medpref.evaluation.comparison import ALL_SEEDS
from medpref.evaluation.holm import holm
from medpref.evaluation.metrics import goodness
from medpref.evaluation.ranking import rank

LEVEL = 0.05
BASELINE = "baseline:"
_FAMILY = ("task", "backbone", "control", "seed", "metric", "slice", "condition")
_FIGURE = ("task", "backbone", "metric", "slice")

Row = dict[str, Any]


def correct_comparisons(rows: Sequence[Row], pairs: Sequence[Row]) -> tuple[list[Row], dict[str, int]]:
    """Add ``p_holm``, over the methods of a figure, and ``p_study``, over all comparisons with a control.

    Args:
        rows: the comparisons.
        pairs: the tests of every two methods: those of the rows among them, with many more sign flips.

    Returns:
        The rows, and the number of tests behind p_study by control.
    """
    rows = _with_small_p_values(rows, pairs)
    families: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        families[tuple(row[name] for name in _FAMILY)].append(row)
    done = [
        {**row, "p_holm": corrected, "p_study": math.nan}
        for family in families.values()
        for row, corrected in zip(family, holm([row["p_value"] for row in family]), strict=True)
    ]
    counts = {}
    for control in sorted({row["control"] for row in done}):
        family = [row for row in _primary(done) if row["control"] == control]
        p_values = [max(row["p_value"], _or_none(row["p_seeds"])) for row in family]
        for row, corrected in zip(family, holm(p_values), strict=True):
            row["p_study"] = corrected
        counts[control] = sum(not math.isnan(p) for p in p_values)
    return done, counts


def _with_small_p_values(rows: Sequence[Row], pairs: Iterable[Row]) -> list[Row]:
    found = {}
    for pair in pairs:
        place = tuple(pair[name] for name in _FIGURE)
        for names in ((pair["first"], pair["second"]), (pair["second"], pair["first"])):
            found[(*place, *names)] = pair["p_value"]
    done = [dict(row) for row in rows]
    for row in _primary(done):
        place = (*(row[name] for name in _FIGURE), row["method"], row["control"])
        row["p_value"] = found.get(place, row["p_value"])
    return done


def _or_none(p_value: float) -> float:
    """Return a p value that decides nothing where no test was made."""
    return 0.0 if math.isnan(p_value) else p_value


def _primary(rows: Sequence[Row]) -> list[Row]:
    """Return the comparisons under normal conditions that use all of their seeds."""
    names = ("task", "backbone", "method", "control", "metric", "slice")
    pooled = {tuple(row[name] for name in names) for row in rows if row["seed"] == ALL_SEEDS}
    return [
        row
        for row in rows
        if row["condition"] == NORMAL
        and (row["seed"] == ALL_SEEDS or tuple(row[name] for name in names) not in pooled)
    ]


def correct_pairs(pairs: Sequence[Row]) -> tuple[list[Row], int]:
    """Add ``p_study``, corrected over every pair of the study.

    Returns:
        The rows, and the number of tests that could be made.
    """
    corrected = holm([max(pair["p_value"], _or_none(pair["p_seeds"])) for pair in pairs])
    rows = [{**pair, "p_study": p} for pair, p in zip(pairs, corrected, strict=True)]
    return rows, sum(not math.isnan(p) for p in corrected)


def rankings(rows: Iterable[Row], pairs: Iterable[Row]) -> Iterator[Row]:
    """Yield the ranks that each method may hold by each headline figure; the first is the best one's."""
    tested: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for pair in pairs:
        tested[tuple(pair[name] for name in _FIGURE)].append(pair)
    values: dict[tuple[Any, ...], float] = {}
    for row in rows:
        figure = tuple(row[name] for name in _FIGURE)
        if row["condition"] == NORMAL and figure in tested:
            place = (figure, row["method"])
            if place not in values or row["seed"] == ALL_SEEDS:
                values[place] = row["value"]
    for figure, tests in tested.items():
        known = {name for test in tests for name in (test["first"], test["second"])}
        metric = figure[_FIGURE.index("metric")]
        methods = sorted(known, key=lambda name: (-goodness(metric, values[figure, name]), name))
        ranks = rank(methods, [_ordered(test) for test in tests if test["p_study"] < LEVEL])
        for name in methods:
            named = {**dict(zip(_FIGURE, figure, strict=True)), "method": name}
            yield {**named, "value": values[figure, name], **ranks[name]._asdict()}


def _ordered(test: Row) -> tuple[str, str]:
    """Return the better and the worse of two methods."""
    names = (test["first"], test["second"])
    return names if goodness(test["metric"], test["difference"]) > 0 else names[::-1]
