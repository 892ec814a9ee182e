"""Trained starts, kept by their keys for every study that begins in the same way."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from filelock import FileLock

from medpref.files import disk_errors
from medpref.study.stage import is_done, stage_folder

KEPT = ("start/", "sft/")


def fetch_starts(cache: Path, run: Path, keys: Mapping[str, str]) -> None:
    """Copy the starts that `cache` has into the run. A key tells all that a stage's result depends on."""
    for name, key in _kept(keys):
        if (cache / key).is_dir() and not is_done(run, name, key):
            _copy(cache / key, stage_folder(run, name))


def keep_starts(cache: Path, run: Path, keys: Mapping[str, str]) -> None:
    """Copy the run's starts into `cache`."""
    with disk_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
    for name, key in _kept(keys):
        with FileLock(cache / f".{key}.lock"):
            if not (cache / key).exists():
                _copy(stage_folder(run, name), cache / key)


def _kept(keys: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((name, key) for name, key in keys.items() if name.startswith(KEPT))


def _copy(source: Path, target: Path) -> None:
    """Copy a folder, whole or not at all."""
    partial = target.with_name(f".{target.name}.copy")
    with disk_errors(target):
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, partial)
        partial.rename(target)
