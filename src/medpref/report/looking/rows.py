"""The rows of ``looking`` in the results, by what they are about."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medpref.evaluation.comparison import ALL_SEEDS
from medpref.report.layout import Layout, Row
from medpref.report.tables import Score

Key = tuple[str, ...]
Pooled = Mapping[Key, Row]


def looking_rows(results: Mapping[str, Any], name: str) -> Sequence[Row]:
    """Return one of the lists of ``looking``, empty where results have none."""
    rows: Sequence[Row] = (results.get("looking") or {}).get(name) or ()
    return rows


def pooled(rows: Iterable[Row], *fields: str) -> dict[Key, Row]:
    """Return the rows by `fields`, those over all seeds where there are several."""
    found: dict[Key, Row] = {}
    for row in rows:
        key = tuple(str(row[field]) for field in fields)
        if key not in found or row["seed"] == ALL_SEEDS:
            found[key] = row
    return found


def places(rows: Iterable[Row], layout: Layout, *more: str) -> list[Key]:
    """Return (task, backbone, *more) of the rows, tasks and backbones in the order of the other tables."""
    found = dict.fromkeys((row["task"], row["backbone"], *(row[field] for field in more)) for row in rows)
    tasks = list(dict.fromkeys(figure.task for figure in layout.headline))

    def order(place: Key) -> tuple[Any, ...]:
        task, backbone, *rest = place
        return _place(tasks, task), task, _place(layout.backbones, backbone), backbone, *rest

    return sorted(found, key=order)


def _place(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


def score_of(row: Row | None) -> Score | None:
    """Return a row's figure, None where there is none."""
    if row is None or row["value"] is None:
        return None
    return Score(row["value"], row["ci_low"], row["ci_high"], row["n"])
