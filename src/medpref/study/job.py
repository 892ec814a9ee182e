"""Stages as jobs: what a worker on any machine is told, and what it tells, in files that both can see.

Each stage of a run has a folder below the run's ``jobs``: ``order.json`` says what to do, ``progress.jsonl``
how far it is, ``failed.json`` why it failed, and ``worker.log`` holds all that its processes printed, one
attempt after the other. That a stage succeeded is told by its own folder alone.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from medpref.errors import InputError, MedprefError, RunError
from medpref.files import disk_errors, read_json, write_json
from medpref.study.stage import Stage

JOBS = "jobs"
ORDER, PROGRESS, FAILED, LOG = "order.json", "progress.jsonl", "failed.json", "worker.log"
HISTORY = "history.jsonl"
"""In ``jobs``: one line for each start and end of an attempt, with time, machine and process."""
# Seconds between two notes of progress: a file system on a network would have no rest otherwise.
NOTE_EVERY = 0.2


class Update(NamedTuple):
    """Progress of a stage: the whole amount of its work, where that is news, and the amount just done."""

    total: int | None
    amount: int


def job_folder(run: Path, name: str) -> Path:
    """Return where the files about a stage's attempts are."""
    return run / JOBS / name


def write_order(
    stage: Stage, key: str, run: Path, cache: Path, *, store: Path | None, layout: str, attempt: int
) -> Path:
    """Write what a worker has to know of a stage, and return the file.

    Args:
        stage: the stage.
        key: its key.
        run: the run's folder.
        cache: where stages keep parts of their work.
        store: the folder of whole stages of other runs, if any.
        layout: where the stage expects those before it, as `medpref.study.cache.layouts` says.
        attempt: from 1.
    """
    folder = job_folder(run, stage.name)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PROGRESS).write_text("")
        (folder / FAILED).unlink(missing_ok=True)
    said = {
        "stage": asdict(stage),
        "key": key,
        "run": str(run),
        "cache": str(cache),
        "store": str(store) if store else None,
        "layout": layout,
        "attempt": attempt,
    }
    write_json(folder / ORDER, said)
    return folder / ORDER


def work(order: Path) -> None:
    """Run the stage that `order` tells. A failure is written beside it, and not raised."""
    # Here and not above, so that the process that only hands out orders need not load models' code.
    from medpref.study.cache import StageStore
    from medpref.study.execute import execute

    said = read_json(order)
    run = Path(said["run"])
    stage = Stage(**{**said["stage"], "after": tuple(said["stage"]["after"])})
    note(run, stage.name, "begins", said["attempt"])
    with _printing_to(order.with_name(LOG), said["attempt"]), _Notes(order.with_name(PROGRESS)) as notes:
        try:
            store = StageStore(Path(said["store"])) if said["store"] else None
            execute(
                stage, said["key"], run, Path(said["cache"]), notes.take, store=store, layout=said["layout"]
            )
        except MedprefError as error:
            _write_failure(order.with_name(FAILED), error)
    note(run, stage.name, "ends", said["attempt"])


def _write_failure(path: Path, error: MedprefError) -> None:
    write_json(
        path,
        {
            "input": isinstance(error, InputError),
            "what": error.what,
            "where": error.where,
            "remedy": error.remedy,
        },
    )


def failure(run: Path, name: str) -> MedprefError | None:
    """Return why a stage's last attempt failed, or None if it did not say so."""
    path = job_folder(run, name) / FAILED
    if not path.is_file():
        return None
    said = read_json(path)
    kind = InputError if said["input"] else RunError
    return kind(said["what"], where=said["where"], remedy=said["remedy"])


def note(run: Path, name: str, event: str, attempt: int) -> None:
    """Add a line to the run's history of attempts."""
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "stage": name,
        "event": event,
        "attempt": attempt,
        "machine": platform.node(),
        "process": os.getpid(),
    }
    path = run / JOBS / HISTORY
    with disk_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


@contextmanager
def _printing_to(log: Path, attempt: int) -> Iterator[None]:
    """Let all that this process and its children print go to the end of `log`."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with disk_errors(log), log.open("a", encoding="utf-8") as file:
        started = datetime.now(UTC).isoformat(timespec="seconds")
        file.write(f"attempt {attempt} on {platform.node()}, process {os.getpid()}, {started}\n")
        file.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)


class _Notes:
    """Writes progress to a file, a few times a second at most."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._amount = 0
        self._last = 0.0

    def __enter__(self) -> "_Notes":
        return self

    def __exit__(self, *_: object) -> None:
        self._write(None)

    def take(self, stage: str, total: int | None, amount: int) -> None:
        """Note an update of a stage's progress."""
        self._amount += amount
        if total is not None or time.monotonic() - self._last > NOTE_EVERY:
            self._write(total)

    def _write(self, total: int | None) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([total, self._amount]) + "\n")
        self._amount, self._last = 0, time.monotonic()


class Follower:
    """Reads what is new in a stage's progress file."""

    def __init__(self, run: Path, name: str) -> None:
        self._path = job_folder(run, name) / PROGRESS
        self._at = 0

    def news(self) -> Iterator[Update]:
        """Yield the updates since the last call; a line that is still being written waits for the next."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._at += len(line)
                yield Update(*json.loads(line))


def history(run: Path) -> list[Mapping[str, Any]]:
    """Return the starts and ends of all attempts of a run, in order."""
    path = run / JOBS / HISTORY
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
