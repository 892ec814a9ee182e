"""The image files that rows name or hold: found below a folder, or written there once."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from medpref.errors import InputError
from medpref.files import file_hash, write_bytes
from medpref.pairs.check import cached_image_fault
from medpref.pairs.fields import RowError
from medpref.pairs.images import image_size
from medpref.pairs.sources.records import is_nothing

STARTS = (
    (b"\x89PNG", ".png"),
    (b"\xff\xd8", ".jpg"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"RIFF", ".webp"),
)
"""How image files begin, and their endings."""


class Pictures:
    """The images of a data set.

    Args:
        roots: the folders that relative paths start from; the first that has the file counts.
        folder: where images go that the rows hold themselves, named by their content. None writes none.
    """

    def __init__(self, roots: Sequence[Path], folder: Path | None) -> None:
        self.roots = tuple(roots)
        self.folder = folder
        self._digests: dict[Path, str] = {}

    def find(self, value: Any) -> tuple[Path, ...]:
        """Return the files of one image or a list of them: paths, bytes, or Hugging Face's ``{bytes, path}``.

        Raises:
            RowError: an image is given otherwise.
        """
        if is_nothing(value):
            return ()
        values = value if isinstance(value, list | tuple) else (value,)
        return tuple(self._one(item) for item in values)

    def _one(self, value: Any) -> Path:
        if isinstance(value, Mapping):
            value = value["bytes"] if value.get("bytes") else value.get("path")
        if isinstance(value, bytes) and value:
            return self._written(value)
        if isinstance(value, str) and value.strip() and "\0" not in value:
            return self._existing(value.strip())
        raise RowError("an image must be a path or the bytes of a file")

    def _existing(self, name: str) -> Path:
        places = [root / name for root in self.roots] or [Path(name)]
        if len(places) == 1:
            return places[0]
        return next((place for place in places if place.is_file()), places[0])

    def _written(self, data: bytes) -> Path:
        digest = sha256(data).hexdigest()
        suffix = next((end for start, end in STARTS if data.startswith(start)), ".img")
        path = (self.folder or Path("embedded")) / f"{digest[:32]}{suffix}"
        if path not in self._digests:
            self._digests[path] = digest
            if self.folder is not None and not path.is_file():
                write_bytes(path, data, durable=False)
        return path

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of an image file; of its path where it is not there."""
        if path not in self._digests:
            try:
                self._digests[path] = file_hash(path)
            except OSError:
                self._digests[path] = sha256(str(path).encode()).hexdigest()
        return self._digests[path]


@lru_cache(maxsize=100_000)
def header_fault(path: Path) -> str | None:
    """Return why an image file cannot be used, as far as its header tells, or None."""
    try:
        image_size(path)
    except InputError as error:
        return error.what
    return None


IMAGE_CHECKS = {"all": cached_image_fault, "header": header_fault}
"""How images are checked, by the setting ``verify``."""
