"""A converted folder: written beside its place and moved there when it is whole, shard by shard resumable."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medpref.backbones.tensor_files import TensorFiles
from medpref.conversion.stream import Shard, write_index, write_shard
from medpref.errors import InputError, RunError
from medpref.files import content_hash, disk_errors, file_hash, read_json, write_json

MANIFEST = "conversion.json"
LOCK = ".lock"
FORMAT = 1
"""Goes up when the same source would be written otherwise: unfinished folders are then started anew."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Source:
    """What a folder is made from.

    Attributes:
        name: of the source's folder.
        files: SHA-256 of every file that went in.
        settings: what was chosen, in plain JSON.
    """

    name: str
    files: Mapping[str, str]
    settings: Mapping[str, Any]

    def key(self, shards: Mapping[str, Shard]) -> str:
        """Return a hash of all that the folder's content depends on; the source's name is not in it."""
        plan = {
            name: [(tensor.name, tensor.dtype, tensor.shape, tensor.source) for tensor in shard]
            for name, shard in shards.items()
        }
        return content_hash(FORMAT, dict(self.files), dict(self.settings), plan)


def hash_source(folders: Sequence[TensorFiles], say: Say) -> dict[str, str]:
    """Return the SHA-256 of tensor files and configurations; a second folder's names begin with its own."""
    hashes = {}
    for number, files in enumerate(dict.fromkeys(folders)):
        for path in (files.folder / "config.json", *files.files):
            say(f"checking {path.name}")
            hashes[f"{files.folder.name}/{path.name}" if number else path.name] = file_hash(path)
    return hashes


def unfinished_folder(target: Path) -> Path:
    """Return where a folder is written until it is whole."""
    return target.with_name(f"{target.name}.unfinished")


def write_folder(
    target: Path,
    shards: dict[str, Shard],
    source: Source,
    write_rest: Callable[[Path], None],
    say: Say,
) -> bool:
    """Write a folder of tensors and what belongs to them; shards that an earlier run finished are kept.

    Args:
        target: where to; nothing may be there but an empty folder or this very conversion.
        shards: what goes into each file.
        source: where it comes from.
        write_rest: writes everything but the tensors into the folder that it is given.
        say: is told what happens, a line at a time.

    Returns:
        Whether anything had to be written.

    Raises:
        InputError: the target holds something else, or a source is cut short.
        RunError: the disk is full, the folder cannot be written, or another process writes it.
    """
    key = source.key(shards)
    if _is_done(target, key, say):
        return False
    work = unfinished_folder(target)
    with disk_errors(work):
        work.mkdir(parents=True, exist_ok=True)
    with _locked(work):
        done = _finished_shards(work, key, say)
        _check_space(work, [shards[name] for name in shards if name not in done])
        hashes: dict[str, str] = {}
        for name, shard in shards.items():
            if name in done:
                say(f"{name}: kept from an earlier run")
                hashes[name] = done[name]
            else:
                say(f"{name}: {sum(t.nbytes for t in shard) / 1e9:.2f} GB, {len(shard)} tensors")
                hashes[name] = write_shard(work / name, shard)
            # After every shard: what a killed run leaves is then known to be whole.
            write_json(work / MANIFEST, _manifest(source, key, hashes))
        write_index(work, shards)
        write_rest(work)
        others = sorted(path for path in work.iterdir() if path.is_file() and path.name not in hashes)
        rest = {path.name: file_hash(path) for path in others if path.name not in (MANIFEST, LOCK)}
        write_json(work / MANIFEST, _manifest(source, key, {**hashes, **rest}))
    with disk_errors(target):
        (work / LOCK).unlink(missing_ok=True)
        work.replace(target)
    return True


def _manifest(source: Source, key: str, files: Mapping[str, str]) -> dict[str, Any]:
    return {
        "key": key,
        "source": source.name,
        "source_sha256": dict(source.files),
        "settings": dict(source.settings),
        "sha256": dict(files),
    }


def _is_done(target: Path, key: str, say: Say) -> bool:
    """Tell whether the target is this very conversion, whole. Raises `InputError` for anything else there."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    manifest = _read_manifest(target)
    if manifest.get("key") != key:
        raise InputError(
            "the target is not empty, and not this conversion",
            where=str(target),
            remedy="Choose another folder, or remove this one.",
        )
    changed = [name for name, digest in manifest["sha256"].items() if not _is_file(target / name, digest)]
    if changed:
        raise InputError(
            f"{len(changed)} files of this conversion were changed or removed: {', '.join(changed)}",
            where=str(target),
            remedy="Choose another folder, or remove this one to convert again.",
        )
    say(f"{target.name} is there already, and whole")
    return True


def _finished_shards(work: Path, key: str, say: Say) -> dict[str, str]:
    """Return the shards of an earlier run that are whole and of the same source; all else is removed.

    Raises:
        InputError: the folder was not left behind by a conversion.
    """
    manifest = _read_manifest(work)
    found = [path for path in work.iterdir() if path.name != LOCK]
    ours = all(path.name.startswith((".model-", "model-")) or path.name == MANIFEST for path in found)
    if found and not manifest and not ours:
        raise InputError(
            "this folder is in the way, and no conversion left it behind",
            where=str(work),
            remedy="Remove or rename it.",
        )
    same = manifest.get("key") == key
    if manifest and not same:
        say(f"{work.name} is of another source or other settings: it is started anew")
    kept = {
        name: digest
        for name, digest in manifest.get("sha256", {}).items()
        if same and name.startswith("model-") and _is_file(work / name, digest)
    }
    with disk_errors(work):
        for path in found:
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in kept:
                path.unlink()
    return kept


def _read_manifest(folder: Path) -> dict[str, Any]:
    manifest = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else {}
    known = isinstance(manifest, dict) and isinstance(manifest.get("sha256"), dict)
    return manifest if known else {}


def _is_file(path: Path, digest: str) -> bool:
    return path.is_file() and file_hash(path) == digest


def _check_space(folder: Path, shards: Sequence[Shard]) -> None:
    needed = sum(tensor.nbytes for shard in shards for tensor in shard)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise RunError(
            f"{needed / 1e9:.1f} GB are to be written, {free / 1e9:.1f} GB are free",
            where=str(folder),
            remedy="Free some space and start the same command again: finished shards are kept.",
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError("another process writes this folder", where=str(folder)) from None
    try:
        yield
    finally:
        lock.release()
