"""What is refused before it is decoded, and what a broken file's error becomes."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from medpref.errors import InputError, MedprefError

# A radiograph has about 10 million pixels; past this a small file may be a decompression bomb.
MAX_PIXELS = 100_000_000
"""The most pixels of one image."""
MAX_VOXELS = 300_000_000
"""The most voxels of a volume: 512 × 512 × 1,144."""
EXPORT = "Write its pictures to files of their own first: medpref images export FILE FOLDER."


def check_size(width: int, height: int, path: Path) -> None:
    """Check an image's size in pixels before it is decoded.

    Raises:
        InputError: the image is empty or has over `MAX_PIXELS`.
    """
    if width < 1 or height < 1:
        raise InputError(f"the image is empty ({width} × {height} pixels)", where=str(path))
    if width * height > MAX_PIXELS:
        raise InputError(f"the image has over {MAX_PIXELS:,} pixels", where=str(path))


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises on a broken file into one message that tells its path alone.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    try:
        yield
    except MedprefError:
        raise
    except FileNotFoundError:
        raise InputError("the image is missing", where=str(path)) from None
    except Exception as error:
        # Decoders raise anything on broken files. Their messages may quote the file, so the type must do.
        raise InputError(f"the image cannot be read ({type(error).__name__})", where=str(path)) from None


def require(module: str, extra: str, path: Path) -> Any:
    """Return a module that only some files need.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise InputError(
            f"reading this file needs {module.partition('.')[0]} (pip install 'medpref[{extra}]')",
            where=str(path),
        ) from None
