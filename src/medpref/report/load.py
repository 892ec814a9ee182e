"""A run folder, read into typed parts; everything but the results may be missing."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medpref.errors import InputError
from medpref.evaluation.log import EvaluationLog, read_logs
from medpref.evaluation.results import RESULTS_VERSION
from medpref.files import read_json, read_jsonl

_SEED = re.compile(r"seed-(-?\d+)")


@dataclass(frozen=True, slots=True)
class Curve:
    """The training log of one method, its rows in the order of their steps."""

    backbone: str
    seed: int
    method: str
    rows: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate of a search.

    Attributes:
        settings: its whole settings.
        value: its validation score in [0, 1], None where the study does not search.
        n: the validation samples behind it.
        tokens: tokens that it was trained on.
        chosen: whether the test was asked of it.
    """

    settings: Mapping[str, Any]
    value: float | None
    n: int | None
    tokens: int | None
    chosen: bool


@dataclass(frozen=True, slots=True)
class Search:
    """How one method's settings were chosen; `task`, `metric` and `split` are None without a search."""

    backbone: str
    method: str
    seed: int
    split: str | None
    task: str | None
    metric: str | None
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Everything that a report reads.

    Attributes:
        path: the folder, which image paths in `logs` are relative to.
        results: results.json.
        about: run.json, empty where it is missing.
        data: logs/data.json, empty where it is missing.
        manifest: logs/manifest.json, the hashes; empty where it is missing.
        logs: the evaluation logs.
        curves: the training logs.
        searches: the searches.
    """

    path: Path
    results: dict[str, Any]
    about: dict[str, Any]
    data: dict[str, Any]
    manifest: dict[str, Any]
    logs: tuple[EvaluationLog, ...]
    curves: tuple[Curve, ...]
    searches: tuple[Search, ...]

    @property
    def study(self) -> dict[str, Any]:
        """The study as it was resolved, empty where it was not kept."""
        return dict(self.about.get("study") or {})


def read_run(run: Path) -> RunFolder:
    """Read a run folder.

    Raises:
        InputError: there are no results, or a file is broken; the message names the file.
    """
    logs = run / "logs"
    return RunFolder(
        path=run,
        results=_read_results(run / "results.json"),
        about=_read_object(run / "run.json"),
        data=_read_object(logs / "data.json"),
        manifest=_read_object(logs / "manifest.json"),
        logs=tuple(read_logs(logs)),
        curves=tuple(_read_curves(logs)),
        searches=tuple(_read_search(path) for path in sorted(logs.rglob("search.json"))),
    )


def _read_results(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(
            "there are no results",
            where=str(path),
            remedy="Name the folder of a study that has run to its end.",
        )
    results = _read_object(path)
    if results.get("version") != RESULTS_VERSION:
        raise InputError(
            f"results of version {results.get('version')}, this medpref reads {RESULTS_VERSION}",
            where=str(path),
            remedy="Run the study again in this folder: what is done stays, the results are written anew.",
        )
    return results


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError("this should be a JSON object", where=str(path))
    return value


def _read_curves(logs: Path) -> Iterator[Curve]:
    for path in sorted(logs.rglob("training.jsonl")):
        place = path.relative_to(logs).parts
        seed = _SEED.fullmatch(place[1]) if len(place) > 3 else None
        if seed is None:
            raise InputError("a training log lies below BACKBONE/seed-SEED/METHOD", where=str(path))
        rows = [row for _, row in read_jsonl(path)]
        if not all(isinstance(row, dict) and isinstance(row.get("step"), int) for row in rows):
            raise InputError("every line of a training log has a step", where=str(path))
        yield Curve(
            place[0], int(seed[1]), "/".join(place[2:-1]), tuple(sorted(rows, key=lambda row: row["step"]))
        )


def _read_search(path: Path) -> Search:
    row = read_json(path)
    try:
        return Search(
            backbone=row["backbone"],
            method=row["method"],
            seed=row["seed"],
            split=row["split"],
            task=row["task"],
            metric=row["metric"],
            candidates=_candidates(row["candidates"]),
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"this is no search log: {error}", where=str(path)) from None


def _candidates(rows: Sequence[Mapping[str, Any]]) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(row["settings"], row.get("value"), row.get("n"), row.get("tokens"), row["chosen"])
        for row in rows
    )
