"""What changes when the files behind a source's settings change."""

import os
from collections.abc import Iterator
from pathlib import Path

from medpref.files import file_hash

WHOLE = 256 << 20
"""Larger files, in bytes, are known by size and date: hashing them takes longer than planning a study."""


def file_state(path: Path) -> object:
    """Return what changes with a file's content; None where it is not there."""
    try:
        info = path.stat()
        return file_hash(path) if info.st_size <= WHOLE else [info.st_size, info.st_mtime_ns]
    except OSError:
        return None


def listing(root: Path, depth: int | None) -> Iterator[tuple[str, int]]:
    """Yield the files below a folder with their sizes in bytes, in order.

    Args:
        root: the folder.
        depth: how many levels are listed; all for None.
    """
    for place, folders, files in os.walk(root):
        folders.sort()
        level = len(Path(place).relative_to(root).parts)
        if depth is not None and level >= depth - 1:
            yield from ((str(Path(place).relative_to(root) / name), 0) for name in folders)
            folders.clear()
        for name in sorted(files):
            path = Path(place) / name
            yield str(path.relative_to(root)), path.stat().st_size if path.exists() else -1
