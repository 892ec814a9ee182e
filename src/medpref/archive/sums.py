"""The SHA-256 of every file of a folder, in the format of sha256sum."""

import re
from collections.abc import Iterator
from pathlib import Path

from medpref.errors import InputError
from medpref.files import file_hash, write_text

SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def write_sums(folder: Path) -> None:
    """Write the hashes of all files below `folder` into it."""
    lines = [f"{file_hash(path)}  {name}\n" for name, path in _files(folder)]
    write_text(folder / SUMS, "".join(lines))


def check_sums(folder: Path) -> list[str]:
    """Return what is wrong, a file a line: changed, missing or not listed; nothing where all is well.

    Raises:
        InputError: there are no hashes, or a line is broken.
    """
    listed = _read(folder / SUMS)
    found = dict(_files(folder))
    changed = [name for name, path in found.items() if name in listed and file_hash(path) != listed[name]]
    return [
        *(f"{name} is changed" for name in changed),
        *(f"{name} is missing" for name in listed if name not in found),
        *(f"{name} is not listed" for name in found if name not in listed),
    ]


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise InputError("there is no such file: this is no archive of a study", where=path.name)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    parts = [_LINE.fullmatch(line) for line in lines]
    if not all(parts):
        raise InputError("a line is no hash with a name", where=path.name)
    return {part[2]: part[1] for part in parts if part}


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != SUMS:
            yield name, path
