"""Finished stages, kept by their keys for every run that would compute the same.

An entry holds a stage's folder, and what its results name elsewhere in the run: those files are listed in
the stage's ``beside.json``. Files are hard links where the file system allows it, else copies. An entry comes
into being by one renaming, so there is never half of one, and each of its files is checked by size and
SHA-256 before a run gets it.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from medpref.errors import InputError
from medpref.files import content_hash, disk_errors, file_hash, read_json, replace_folder, write_json
from medpref.study.stage import STAMP, Stage, is_done, stage_folder

STAGES = "stages"
ENTRY = "entry.json"
BESIDE = "beside.json"
Found = Literal["reused", "absent", "damaged"]


def layouts(stages: Mapping[str, Stage]) -> dict[str, str]:
    """Return for each stage a hash of its name and the names of all before it.

    A stage's files name those of the stages before it by relative paths, so that only a run in which these
    have the same names can use an entry.
    """
    found: dict[str, str] = {}
    for name, stage in stages.items():
        found[name] = content_hash(name, {role: (need, found[need]) for role, need in stage.needs.items()})
    return found


class StageStore:
    """The folder that keeps stages for other runs.

    Args:
        folder: the cache's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _entry(self, key: str, layout: str) -> Path:
        ident = content_hash(key, layout)
        return self.folder / STAGES / ident[:2] / ident

    @contextmanager
    def only_one(self, key: str, layout: str, *, wait: bool = True) -> Iterator[None]:
        """Keep other runs from computing the same stage meanwhile; they wait, and then find it.

        Raises:
            Timeout: another run is at it, and this one is not to `wait`.
        """
        entry = self._entry(key, layout)
        with disk_errors(entry):
            entry.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(entry.with_name(f".{entry.name}.lock"), timeout=-1 if wait else 0):
            yield

    def fetch(self, name: str, key: str, layout: str, run: Path) -> Found:
        """Bring a stage into the run, if it is here and whole; what is damaged is removed."""
        entry = self._entry(key, layout)
        if not (entry / ENTRY).is_file():
            return "absent"
        if not _is_whole(entry):
            shutil.rmtree(entry, ignore_errors=True)
            return "damaged"
        target = stage_folder(run, name)
        partial = target.with_name(f".{target.name}.fetched")
        with disk_errors(target):
            shutil.rmtree(partial, ignore_errors=True)
            _link_tree(entry / "stage", partial)
            if (entry / "run").is_dir():
                _link_tree(entry / "run", run)
        replace_folder(partial, target)
        return "reused"

    def keep(self, name: str, key: str, layout: str, run: Path) -> None:
        """Put a finished stage of the run here, unless it is here already."""
        entry = self._entry(key, layout)
        if (entry / ENTRY).is_file():
            return
        source = stage_folder(run, name)
        partial = entry.with_name(f".{entry.name}.partial")
        with disk_errors(entry):
            shutil.rmtree(partial, ignore_errors=True)
            _link_tree(source, partial / "stage")
            beside = source / BESIDE
            for file in read_json(beside) if beside.is_file() else ():
                _link(run / file, partial / "run" / file)
            write_json(partial / ENTRY, {"stage": name, "key": key, "files": _checksums(partial)})
            shutil.rmtree(entry, ignore_errors=True)
            partial.rename(entry)


def fetch_stages(
    store: StageStore, stages: Mapping[str, Stage], keys: Mapping[str, str], run: Path
) -> dict[str, Found]:
    """Bring all stages into the run that are kept here and not done there; return what became of these.

    Those that another run is at are left for later.
    """
    places = layouts(stages)
    found: dict[str, Found] = {}
    for name in stages:
        if is_done(run, name, keys[name]):
            continue
        try:
            with store.only_one(keys[name], places[name], wait=False):
                found[name] = store.fetch(name, keys[name], places[name], run)
        except Timeout:
            found[name] = "absent"
    return found


def keep_stages(store: StageStore, stages: Mapping[str, Stage], keys: Mapping[str, str], run: Path) -> None:
    """Keep all stages of a finished run, those too that it had before it knew the cache."""
    for name, place in layouts(stages).items():
        with store.only_one(keys[name], place):
            store.keep(name, keys[name], place, run)


def _checksums(folder: Path) -> dict[str, tuple[int, str]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ENTRY)
    return {str(path.relative_to(folder)): (path.stat().st_size, file_hash(path)) for path in files}


def _is_whole(entry: Path) -> bool:
    try:
        listed: dict[str, Any] = read_json(entry / ENTRY)["files"]
        return f"stage/{STAMP}" in listed and all(
            (entry / name).stat().st_size == size and file_hash(entry / name) == digest
            for name, (size, digest) in listed.items()
        )
    except (OSError, InputError, KeyError, TypeError, ValueError):
        return False


def _link_tree(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_file():
            _link(path, target / path.relative_to(source))


def _link(source: Path, target: Path) -> None:
    """Give a file another name, or copy it where that cannot be; what has that name already stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        partial = target.with_name(f".{target.name}.{os.getpid()}.copy")
        shutil.copyfile(source, partial)
        partial.replace(target)
