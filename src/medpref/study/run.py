"""Run a study from its YAML file to its results and report."""

import json
import os
import platform
import shutil
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from rich.console import Console

from medpref import __version__
from medpref.errors import InputError, RunError
from medpref.evaluation.log import read_logs
from medpref.evaluation.results import build_results
from medpref.evaluation.tasks import tasks
from medpref.files import disk_errors, read_json, read_jsonl, write_json
from medpref.progress import Progress
from medpref.study.cache import fetch_starts, keep_starts
from medpref.study.graph import build_graph
from medpref.study.schedule import run_stages
from medpref.study.spec import StudySpec
from medpref.study.stage import STAMP, Stage, stage_folder, stage_keys

LOGS = ("*.eval.jsonl", "search.json", "training.jsonl")


def run_study(study: StudySpec, folder: Path, console: Console, cache: Path | None = None) -> dict[str, Any]:
    """Run what is not done yet of a study, and write ``results.json``.

    Started again after being killed at any moment, it redoes only unfinished stages and ends with the same
    results, byte for byte, on the same machine.

    Args:
        study: the study.
        folder: where everything goes.
        console: for progress.
        cache: a folder that keeps trained starts for other runs; none by default.

    Returns:
        The content of ``results.json``.

    Raises:
        MedprefError: another run writes to the folder, or a stage failed.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(
            "another run is writing here",
            where=str(folder),
            remedy="Wait for it, or name another folder with --out.",
        ) from None
    try:
        return _run(study, folder, console, cache.absolute() if cache else None)
    finally:
        lock.release()


def _run(study: StudySpec, folder: Path, console: Console, cache: Path | None) -> dict[str, Any]:
    started = datetime.now(UTC)
    clock = time.monotonic()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = study.workers or min(cores, 2)
    # Starts that run side by side share the cores: more threads than cores wait for each other.
    beside = min(workers, len(study.backbones) * len(study.seeds))
    stages = build_graph(study, threads=max(1, min(cores, 2) // beside))
    keys = stage_keys(stages)
    _check_folder(folder, study)
    if cache:
        fetch_starts(cache, folder, keys)
    with Progress(console) as progress:
        run_stages(stages, keys, folder, workers, progress)
    if cache:
        keep_starts(cache, folder, keys)
    collect_logs(folder, stages)
    results = summarise(folder, study)
    write_json(folder / "results.json", results)
    seconds = {name: read_json(stage_folder(folder, name) / STAMP)["seconds"] for name in stages}
    write_json(folder / "run.json", describe_run(study, started, time.monotonic() - clock, seconds))
    return results


def _check_folder(folder: Path, study: StudySpec) -> None:
    """Refuse a folder that holds another study: its results would be mixed with ours.

    Raises:
        InputError: it does.
    """
    mark = folder / "study.json"
    if mark.is_file() and read_json(mark)["study"] != study.study:
        raise InputError(
            f"this folder holds the study {read_json(mark)['study']!r}",
            where=str(folder),
            remedy="Name another folder with --out.",
        )
    write_json(mark, json.loads(study.model_dump_json()))


def collect_logs(folder: Path, stages: dict[str, Stage]) -> None:
    """Put the logs of the present stages into ``logs``: reports read that folder and nothing else."""
    target = folder / "logs"
    new = folder / "logs.partial"
    shutil.rmtree(new, ignore_errors=True)
    with disk_errors(new):
        new.mkdir()
        write_json(new / "data.json", data_facts(folder, stages))
        for name in stages:
            if not name.startswith("eval/"):
                continue
            place = new / name.removeprefix("eval/")
            place.mkdir(parents=True, exist_ok=True)
            for pattern in LOGS:
                for log in stage_folder(folder, name).glob(pattern):
                    shutil.copyfile(log, place / log.name)
        shutil.rmtree(target, ignore_errors=True)
        new.rename(target)


def data_facts(folder: Path, stages: dict[str, Stage]) -> dict[str, Any]:
    """Return what the data stage told of the data, with the pairs that were too long for a backbone added."""
    facts: dict[str, Any] = read_json(stage_folder(folder, "data") / "data.json")
    for name in stages:
        skipped = stage_folder(folder, name) / "too-long.jsonl"
        # A reference pass skips the same pairs as the training that it is for.
        if skipped.is_file() and not name.startswith("reference/"):
            count = sum(1 for _ in read_jsonl(skipped))
            if count:
                facts["quarantined"][f"{name}: too long for the backbone"] = count
    return facts


def put_aside(folder: Path) -> str | None:
    """Return a line that counts the rows a run did not use and says where they are named, or None."""
    reasons: dict[str, int] = read_json(folder / "logs" / "data.json")["quarantined"]
    if not reasons:
        return None
    listed = ", ".join(f"{count} × {reason}" for reason, count in reasons.items())
    return f"{sum(reasons.values())} rows were put aside ({listed}); see quarantine.jsonl and too-long.jsonl."


def headline(study: StudySpec) -> list[tuple[str, str, str]]:
    """Return the (task, metric, slice) that methods are compared by."""
    return [(task, metric, part) for task in study.tasks for metric, part in tasks[task].headline]


def named_slices(study: StudySpec) -> dict[str, list[str]]:
    """Return the named sets of question kinds of the study's tasks."""
    return {name: sorted(kinds) for task in study.tasks for name, kinds in tasks[task].slices.items()}


def summarise(folder: Path, study: StudySpec) -> dict[str, Any]:
    """Compute the results from the logs."""
    return build_results(
        read_logs(folder / "logs"),
        study=study.study,
        controls=study.controls,
        headline=headline(study),
        slices=named_slices(study),
    )


def describe_run(
    study: StudySpec, started: datetime, seconds: float, stages: dict[str, float]
) -> dict[str, Any]:
    """Return what the report says about how the study ran; this differs from run to run."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "medpref": __version__,
        "study": json.loads(study.model_dump_json()),
        "versions": {
            "python": sys.version.split()[0],
            **{name: version(name) for name in ("torch", "transformers", "tokenizers", "numpy")},
        },
        "hardware": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "gpu": gpu},
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "stages": stages,
        "headline": headline(study),
        "slices": named_slices(study),
    }
