"""Run one stage: in a folder that becomes the stage's only when the work is done."""

import os
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import transformers
from filelock import FileLock

from medpref.errors import MedprefError, RunError
from medpref.files import disk_errors, replace_folder, write_json
from medpref.study import stages as stages
from medpref.study.cache import StageStore
from medpref.study.stage import STAMP, Stage, StageContext, is_done, stage_folder, stage_functions

# Below this much free space, in bytes, a failed write is put down to the full disk.
NEARLY_NOTHING = 4 << 20

Report = Callable[[str, int | None, int], None]
"""Called with a stage's name, the whole amount of work (None: nothing new), and the amount just done."""


def execute(
    stage: Stage,
    key: str,
    run: Path,
    cache: Path,
    report: Report,
    *,
    store: StageStore | None = None,
    layout: str = "",
) -> float:
    """Run a stage and return the seconds it took.

    The stage works in a folder beside its own. A killed run leaves that folder behind, and the next one goes
    on from it if its key is the same. What it keeps in `cache` changes nothing but the time it takes.

    Args:
        stage: the stage.
        key: its key.
        run: the run's folder.
        cache: where stages keep parts of their work.
        report: told of the work done.
        store: whole stages of other runs: the stage is looked for there first, and kept there.
        layout: where the stage expects those before it, for `store`.

    Raises:
        MedprefError: the stage failed; a full disk is named as such.
    """
    target = stage_folder(run, stage.name)
    started = time.monotonic()
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    # A worker of a killed run may still be writing here: for a moment, or on another machine to the end.
    with FileLock(target.with_name(f".{target.name}.lock")):
        if is_done(run, stage.name, key):
            return 0.0
        if store is None:
            return _compute(stage, key, run, cache, report)
        with store.only_one(key, layout):
            if store.fetch(stage.name, key, layout, run) != "reused":
                _compute(stage, key, run, cache, report)
                store.keep(stage.name, key, layout, run)
    return round(time.monotonic() - started, 2)


def _compute(stage: Stage, key: str, run: Path, cache: Path, report: Report) -> float:
    target = stage_folder(run, stage.name)
    partial = target.with_name(f"{target.name}.partial")
    started = time.monotonic()
    _prepare(partial, key)
    context = StageContext(
        folder=partial,
        params=stage.params,
        needs={role: stage_folder(run, need) for role, need in stage.needs.items()},
        run=run,
        cache=cache,
        advance=lambda amount: report(stage.name, None, amount),
        expect=lambda amount: report(stage.name, amount, 0),
        workers=stage.workers,
    )
    torch.set_num_threads(stage.threads)
    _guarded(stage, context)
    shutil.rmtree(partial / "checkpoints", ignore_errors=True)
    seconds = round(time.monotonic() - started, 2)
    write_json(partial / STAMP, {"key": key, "work": stage.work, "seconds": seconds})
    replace_folder(partial, target)
    return seconds


def _prepare(partial: Path, key: str) -> None:
    """Keep what a killed run left for the same key; remove anything else."""
    mark = partial / "key"
    if partial.exists() and not (mark.is_file() and mark.read_text() == key):
        shutil.rmtree(partial)
    with disk_errors(partial):
        partial.mkdir(exist_ok=True)
        mark.write_text(key)


def _guarded(stage: Stage, context: StageContext) -> None:
    """Run the stage's function and turn what goes wrong into an error that names the stage."""
    try:
        stage_functions[stage.work](context)
    except MedprefError as error:
        error.where = f"{stage.name}: {error.where}" if error.where else stage.name
        raise
    except Exception as error:
        if shutil.disk_usage(context.folder).free < NEARLY_NOTHING or "No space left" in str(error):
            raise RunError(
                "the disk is full",
                where=stage.name,
                remedy="Free some space and start the same command again: finished work is kept.",
            ) from error
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            raise RunError(
                "there is not enough memory",
                where=stage.name,
                remedy="Lower training.images_per_step, training.pairs_per_image or generation_batch.",
            ) from error
        log = context.folder / "error.txt"
        log.write_text(traceback.format_exc())
        raise RunError(
            f"{type(error).__name__}: {error}", where=stage.name, remedy=f"The whole traceback is in {log}."
        ) from error


def prepare_process() -> None:
    """Make this process quiet and its results repeatable."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    torch.use_deterministic_algorithms(True, warn_only=True)


def die_with(parent: int) -> None:
    """End this process as soon as its parent is no longer `parent`: a killed run leaves no worker behind."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def order(stages: Mapping[str, Stage]) -> list[str]:
    """Return the names so that stages which much depends on come first: the longest way to an end decides."""
    height: dict[str, int] = {}
    for name in reversed(list(stages)):
        above = [other for other, stage in stages.items() if name in stage.needs.values()]
        height[name] = 1 + max((height[other] for other in above), default=0)
    return sorted(stages, key=lambda name: -height[name])
