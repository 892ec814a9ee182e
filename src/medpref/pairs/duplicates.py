"""Images that are the same picture: the same file, or the same picture saved, scaled or brightened again."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image
from scipy.fft import dctn

from medpref.errors import InputError
from medpref.files import cached_file_hash
from medpref.pairs.images import open_image

BITS = 255
NEAR = 24
"""Hashes of one picture differ in fewer bits: ``docs/pair-checks.md`` has the measured distances."""

_SIDE = 16
_FLAT = 2.0
_ROWS_AT_A_TIME = 256
_ONES: UInt8[np.ndarray, "256"] = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)

Hash = UInt8[np.ndarray, "32"]


class Match(NamedTuple):
    """An image that shows the same picture.

    Attributes:
        path: its file.
        distance: in how many of `BITS` bits the perceptual hashes differ; None for the same bytes.
    """

    path: Path
    distance: int | None


@lru_cache(maxsize=100_000)
def perceptual_hash(path: Path) -> Hash | None:
    """Return the picture's coarse content in `BITS` bits, packed; None where it is too flat to have any.

    The image is made grey and 64 by 64 pixels. Of its cosine transform the 16 by 16 lowest frequencies are
    kept, without the mean, and each is 1 where it is above their median (Zauner 2010, "Implementation and
    benchmarking of perceptual image hash functions", with 8 by 8 frequencies there). A mirrored or turned
    picture has another hash.

    Raises:
        InputError: the file cannot be read as an image.
    """
    grey = open_image(path).convert("L").resize((4 * _SIDE, 4 * _SIDE), Image.Resampling.BOX)
    pixels = np.asarray(grey, dtype=np.float64)
    if pixels.std() < _FLAT:
        return None
    frequencies = dctn(pixels)[:_SIDE, :_SIDE].ravel()[1:]
    packed: Hash = np.packbits(frequencies > np.median(frequencies))
    return packed


class PictureIndex:
    """Images to be recognised.

    Args:
        paths: their files.
        distance: pictures are the same where their hashes differ in at most so many bits.

    Raises:
        InputError: a file is missing or no image.
    """

    def __init__(self, paths: Iterable[Path], distance: int = NEAR) -> None:
        self.distance = distance
        self._files: dict[str, Path] = {}
        hashed: list[tuple[Path, Hash]] = []
        for path in sorted(set(paths)):
            if not path.is_file():
                raise InputError("there is no such image", where=str(path))
            if self._files.setdefault(cached_file_hash(path), path) == path:
                found = perceptual_hash(path)
                hashed += [] if found is None else [(path, found)]
        self._paths = [path for path, _ in hashed]
        self._hashes = np.array([found for _, found in hashed], dtype=np.uint8).reshape(-1, (BITS + 7) // 8)

    def __len__(self) -> int:
        """Return the number of distinct files."""
        return len(self._files)

    def find(self, path: Path) -> Match | None:
        """Return the image that shows what `path` shows, the nearest where several do.

        Raises:
            InputError: the file is missing or no image.
        """
        if not path.is_file():
            raise InputError("there is no such image", where=str(path))
        same = self._files.get(cached_file_hash(path))
        if same is not None:
            return Match(same, None)
        own = perceptual_hash(path)
        if own is None or not self._paths:
            return None
        distances = hash_distances(own[None], self._hashes)[0]
        nearest = int(distances.argmin())
        if distances[nearest] > self.distance:
            return None
        return Match(self._paths[nearest], int(distances[nearest]))


def hash_distances(
    one: UInt8[np.ndarray, "n bytes"], other: UInt8[np.ndarray, "m bytes"]
) -> Int[np.ndarray, "n m"]:
    """Return in how many bits the packed hashes differ."""
    parts = [
        _ONES[one[start : start + _ROWS_AT_A_TIME, None] ^ other[None]].sum(axis=-1, dtype=np.int64)
        for start in range(0, len(one), _ROWS_AT_A_TIME)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, len(other)), dtype=np.int64)


def content_key(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of files, joined: equal for the same pictures under different names.

    Raises:
        OSError: a file cannot be read.
    """
    return "|".join(cached_file_hash(path) for path in paths)
