"""Run a study from its YAML file to its results and report."""

import json
import os
import shutil
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from medpref import __version__
from medpref.errors import InputError, RunError
from medpref.evaluation.log import name_study, read_logs
from medpref.evaluation.looking import judge_errors, read_judged_errors, wrong_answers
from medpref.evaluation.results import build_results
from medpref.evaluation.tasks import headlines, named_slices
from medpref.files import disk_errors, read_json, write_json
from medpref.pairs.llm.asker import LiveAsker
from medpref.progress import Progress
from medpref.study.cache import Found, StageStore, fetch_stages, keep_stages
from medpref.study.data_facts import data_facts
from medpref.study.executors import executors
from medpref.study.graph import build_graph
from medpref.study.machine import describe_machine
from medpref.study.manifest import MANIFEST, make_manifest
from medpref.study.schedule import Where, run_stages
from medpref.study.spec import StudySpec
from medpref.study.stage import STAMP, Stage, stage_folder, stage_keys
from medpref.study.stages.training import REUSE

EVALUATIONS = "*.eval.jsonl"
LOGS = (EVALUATIONS, "search.json", "training.jsonl")
REVIEW = "review"
"""Where logs keep what experts said of the answers."""


def run_study(study: StudySpec, folder: Path, console: Console, cache: Path | None = None) -> dict[str, Any]:
    """Run what is not done yet of a study, and write ``results.json``.

    Started again after being killed at any moment, it redoes only unfinished stages and ends with the same
    results, byte for byte, on the same machine.

    Args:
        study: the study.
        folder: where everything goes.
        console: for progress.
        cache: a folder that keeps finished stages, reference log-probs and image features for other runs; by
            default the last two are kept in the run's own folder.

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
    stages = build_graph(study, threads=study.threads or max(1, min(cores, 2) // beside))
    keys = stage_keys(stages)
    _check_folder(folder, study)
    store = StageStore(cache) if cache else None
    if store:
        _tell_found(fetch_stages(store, stages, keys, folder), console)
    with Progress(console) as progress:
        kept = cache or folder / "cache"
        run_stages(stages, keys, folder, _where(study, workers), progress, cache=kept, store=store)
    if store:
        keep_stages(store, stages, keys, folder)
    collect_logs(folder, stages, study.study)
    write_json(folder / "logs" / MANIFEST, make_manifest(folder, read_logs(folder / "logs")))
    judge_wrong_answers(folder, study)
    results = summarise(folder, study)
    write_json(folder / "results.json", results)
    seconds = {name: read_json(stage_folder(folder, name) / STAMP)["seconds"] for name in stages}
    about = describe_run(study, started, time.monotonic() - clock, seconds)
    reuse = reused(folder, stages)
    write_json(folder / "run.json", {**about, "reuse": reuse})
    for stage, kinds in reuse.items():
        for kind, report in kinds.items():
            for file in report["damaged"]:
                console.print(f"{stage}: {kind} were computed again, as this file is damaged: {file}")
    return results


def _where(study: StudySpec, workers: int) -> Where:
    said = study.executor
    return Where(said.on, executors[said.on].settings.model_validate(said.settings), workers)


def _tell_found(found: dict[str, Found], console: Console) -> None:
    """Say how many stages other runs have computed, and which of these were damaged."""
    count = sum(1 for what in found.values() if what == "reused")
    if count:
        console.print(f"{count} of {len(found)} stages come from the cache.")
    for name, what in found.items():
        if what == "damaged":
            console.print(f"{name} is computed again, as its files in the cache are damaged.", markup=False)


def reused(folder: Path, stages: dict[str, Stage]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what each stage computed and what it found in the cache, by stage and sort of thing."""
    files = {name: stage_folder(folder, name) / REUSE for name in stages}
    return {name: read_json(file) for name, file in files.items() if file.is_file()}


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


def collect_logs(folder: Path, stages: dict[str, Stage], study: str) -> None:
    """Put the logs of the present stages into ``logs``: reports read that folder and nothing else.

    Stages do not know the study's name, so that other studies can use them; it gets into the logs here.
    """
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
            for log in place.glob(EVALUATIONS):
                name_study(log, study)
        if (target / REVIEW).is_dir():
            # What people said cannot be computed anew.
            shutil.copytree(target / REVIEW, new / REVIEW)
        shutil.rmtree(target, ignore_errors=True)
        new.rename(target)


def put_aside(folder: Path) -> str | None:
    """Return lines that count what a run did not use and say where it is named, or None."""
    facts = read_json(folder / "logs" / "data.json")
    lines = []
    if facts["quarantined"]:
        listed = ", ".join(f"{count} × {reason}" for reason, count in facts["quarantined"].items())
        count = sum(facts["quarantined"].values())
        lines.append(f"{count} rows were put aside ({listed}); see quarantine.jsonl and too-long.jsonl.")
    if facts["left_out"]:
        lines.append("Recipes made nothing of some pairs; each pair set's left-out.jsonl names them:")
        lines += [f"  {count} × {reason}" for reason, count in facts["left_out"].items()]
    return "\n".join(lines) or None


def judge_wrong_answers(folder: Path, study: StudySpec) -> None:
    """Ask the study's judge of errors, if it has one; texts alone are sent. What it said is kept in the logs.

    Raises:
        InputError: it may cost too much, the endpoint refuses, or no reply could be used.
        RunError: the endpoint cannot be reached.
    """
    if study.error_judge is None:
        return
    asker = LiveAsker(study.error_judge)
    judged = judge_errors(wrong_answers(read_logs(folder / "logs")), asker, repairs=study.error_judge.repairs)
    judged.write(folder / "logs")


def summarise(folder: Path, study: StudySpec) -> dict[str, Any]:
    """Compute the results from the logs."""
    return build_results(
        read_logs(folder / "logs"),
        study=study.study,
        controls=study.controls,
        headline=headlines(study.tasks),
        slices=named_slices(study.tasks),
        apart=("base",) if study.base else (),
        judged=read_judged_errors(folder / "logs"),
    )


def describe_run(
    study: StudySpec, started: datetime, seconds: float, stages: dict[str, float]
) -> dict[str, Any]:
    """Return what the report says about how the study ran; this differs from run to run."""
    return {
        "medpref": __version__,
        "study": json.loads(study.model_dump_json()),
        "versions": {
            "python": sys.version.split()[0],
            **{name: version(name) for name in ("torch", "transformers", "tokenizers", "numpy")},
        },
        "hardware": describe_machine(),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "stages": stages,
        "headline": headlines(study.tasks),
        "slices": named_slices(study.tasks),
    }
