"""Archives that are the same bytes for the same files, and reading of archives that others made."""

import gzip
import io
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from medpref.errors import InputError
from medpref.files import disk_errors

MOST_BYTES = 8 << 30
"""An archive that unpacks to more is refused: text compresses a thousandfold, and so does an attack."""
MOST_FILES = 200_000
_MODE = 0o644
_CHUNK = 1 << 20
# What some file system takes for a separator, a drive, a stream or the end of a name.
_FORBIDDEN = re.compile(r'[\\:*?"<>|\x00-\x1f\x7f]')


def write_tar(folder: Path, target: Path, root: str) -> None:
    """Write all files below `folder` into a gzipped tar, below `root`; names decide the order.

    Owners, times and modes are not those of the files: the same files give the same bytes.

    Raises:
        RunError: the archive cannot be written.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
        try:
            with (
                os.fdopen(handle, "wb") as raw,
                gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
            ):
                for path in files:
                    entry = tarfile.TarInfo(f"{root}/{path.relative_to(folder).as_posix()}")
                    entry.size, entry.mode = path.stat().st_size, _MODE
                    with path.open("rb") as file:
                        tar.addfile(entry, file)
            Path(temporary).chmod(_MODE)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def unpack_tar(archive: Path, folder: Path) -> Path:
    """Unpack an archive of `write_tar` into an empty folder.

    Returns:
        The one folder that it holds.

    Raises:
        InputError: it is no such archive, holds a link, device or folder, a name that leaves the folder or
            that some file system cannot have, a name twice, or more than one root, or it is too large. What
            was unpacked before is left in `folder`.
    """
    try:
        with tarfile.open(archive, mode="r:gz") as tar:
            roots = {_unpack(tar, entry, folder) for entry in _entries(tar, archive)}
    except FileNotFoundError:
        raise InputError("there is no such archive", where=str(archive)) from None
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, OSError) as error:
        raise InputError(f"this is no whole archive: {error}", where=str(archive)) from None
    if len(roots) != 1:
        raise InputError(
            f"an archive has one folder at its top, this one has {len(roots)}", where=str(archive)
        )
    return folder / roots.pop()


def _entries(tar: tarfile.TarFile, archive: Path) -> Iterator[tarfile.TarInfo]:
    """Yield the entries after checking each: nothing is written for one that is refused."""
    seen: set[str] = set()
    size = 0
    for entry in tar:
        where = f"{archive}, {entry.name!r}"
        if not entry.isreg() or entry.issparse():
            raise InputError("an archive holds plain files only, this is none", where=where)
        path = PurePosixPath(entry.name)
        # PurePosixPath drops single dots and doubled slashes: a name that has any is not its own path.
        if path.is_absolute() or ".." in path.parts or len(path.parts) < 2 or str(path) != entry.name:
            raise InputError("this name leaves the archive's folder", where=where)
        if any(_FORBIDDEN.search(part) or part.endswith((" ", ".")) for part in path.parts):
            raise InputError("this is no name that every file system can have", where=where)
        if entry.name.casefold() in seen:
            raise InputError("this file is in the archive twice", where=where)
        seen.add(entry.name.casefold())
        size += entry.size
        if size > MOST_BYTES or len(seen) > MOST_FILES:
            raise InputError("the archive is too large", where=where)
        yield entry


def _unpack(tar: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path) -> str:
    path = PurePosixPath(entry.name)
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(entry) or io.BytesIO()
    with source, target.open("xb") as file:
        while chunk := source.read(_CHUNK):
            file.write(chunk)
    return path.parts[0]
