"""Files that are either whole or not there, and names made from content."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from medpref.errors import InputError, RunError


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal to write `path` into a message with a remedy.

    Raises:
        RunError: the disk is full, the folder cannot be written, or writing failed otherwise.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                "the disk is full",
                where=str(path),
                remedy="Free some space and start the same command again: finished work is kept.",
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise RunError(
                "this place cannot be written", where=str(path), remedy="Choose another folder with --out."
            ) from error
        raise RunError(f"writing failed: {error.strerror or error}", where=str(path)) from error


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write `data` to `path` so that a reader, or a killed process, sees the old file or the whole new one.

    Args:
        path: the file.
        data: its content.
        durable: also wait until the disk has it, for the sake of power failures. Slow for many files.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all. Raises `RunError` as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read one JSON document.

    Raises:
        InputError: the file is missing or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("there is no such file", where=str(path)) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"this is no valid JSON: {error}", where=str(path)) from None


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write one JSON value a line, whole or not at all."""
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows]
    write_text(path, "".join(line + "\n" for line in lines))


def read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line number from 1, value) of a JSONL file; empty lines are passed over.

    Raises:
        InputError: the file is missing or a line is no JSON; the message names it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise InputError("there is no such file", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise InputError(f"the file is no UTF-8 text ({error.reason})", where=str(path)) from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(
                    f"the line is no JSON, perhaps cut short ({error.msg} at column {error.colno})",
                    where=f"{path}, line {number}",
                ) from None


def relative_to(path: Path, root: Path, within: Path | None = None) -> str:
    """Return `path` relative to `root` where it lies below it, and absolute otherwise.

    Below `within`, where that is given, it is relative too, by way of ``..``.
    """
    if path.is_relative_to(root):
        return str(path.relative_to(root))
    if within is not None and path.is_relative_to(within):
        return os.path.relpath(path, root)
    return str(path.absolute())


def from_here(path: Path) -> Path:
    """Return `path` made absolute; ``~`` is the home folder."""
    return path.expanduser().absolute()


UserPath = Annotated[Path, AfterValidator(from_here)]
"""A path that a user writes in a study."""


def content_hash(*parts: Any) -> str:
    """Return 16 hexadecimal digits that change with any part: bytes as they are, the rest as sorted JSON."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True, default=str).encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:16]


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_file_hash(path: Path) -> str:
    """Return `file_hash` of a file; computed once as long as the file's size and time stay."""
    found = path.stat()
    return _stamped_hash(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _stamped_hash(path: Path, size: int, modified: int) -> str:
    return file_hash(path)


def replace_folder(new: Path, target: Path) -> None:
    """Move the folder `new` to `target`, in place of what stands there."""
    with disk_errors(target):
        if target.exists():
            shutil.rmtree(target)
        new.rename(target)
