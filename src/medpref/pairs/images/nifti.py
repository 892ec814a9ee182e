"""NIfTI volumes: refused as images, read slice by slice for export; needs nibabel."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
from jaxtyping import Float
from PIL import Image

from medpref.errors import InputError
from medpref.pairs.images.display import scale
from medpref.pairs.images.limits import EXPORT, MAX_VOXELS, check_size, require

Volume = Float[np.ndarray, "right front up"]
Axis = Literal["axial", "coronal", "sagittal"]
HEADER = 540
# Extensions lie between header and voxels; nobody needs more for them.
MAX_OFFSET = 1 << 24
ACROSS: dict[Axis, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
"""The axis of a volume (to the right, to the front, up) that runs across the slices."""


def open_nifti(path: Path) -> NoReturn:
    """Refuse a volume, whose slices have to be chosen. Raises `InputError`, which tells its shape."""
    shape = " × ".join(map(str, read_shape(path)))
    raise InputError(
        f"the file is a volume of {shape} voxels where a pair shows one image", where=str(path), remedy=EXPORT
    )


def nifti_size(path: Path) -> NoReturn:
    """Refuse a volume as `open_nifti` does."""
    open_nifti(path)


def read_shape(path: Path) -> tuple[int, ...]:
    """Return a volume's shape in voxels, from its header.

    Raises:
        InputError: the header is broken, or tells of more than `MAX_VOXELS`.
    """
    nibabel = require("nibabel", "nifti", path)
    with _stream(path) as file:
        raw = file.read(HEADER)
    kind = nibabel.Nifti2Header if _is_second(raw) else nibabel.Nifti1Header
    header = kind(binaryblock=raw[: kind.sizeof_hdr])
    shape = tuple(int(edge) for edge in header.get_data_shape())
    if not shape or min(shape) < 1:
        raise InputError("the volume is empty", where=str(path))
    if int(np.prod(shape, dtype=np.float64)) > MAX_VOXELS:
        raise InputError(f"the volume has over {MAX_VOXELS:,} voxels", where=str(path))
    if header.get_data_dtype().fields or header.get_data_dtype().kind == "c":
        raise InputError("volumes of colours or complex numbers are not read", where=str(path))
    if not 0 <= header.get_data_offset() <= MAX_OFFSET:
        raise InputError("the volume's header is broken", where=str(path))
    return shape


def nifti_slices(
    path: Path, axis: Axis = "axial", every: int = 1, window: tuple[float, float] | None = None
) -> Iterator[tuple[int, Image.Image]]:
    """Yield slices, each with its number from 0 (from the right, back or bottom).

    They lie as radiologists look at them: the patient's right is at the left of axial and coronal slices, the
    front at the left of sagittal ones, and front or head is up. Voxels count as square.

    Args:
        path: a volume of three dimensions.
        axis: across which it is cut.
        every: how many slices lie from one to the next.
        window: its centre and width in the volume's units; by default all slices share the range from the
            0.5th to the 99.5th percentile.

    Raises:
        InputError: it is no such volume, or too large.
    """
    volume = _read_volume(path)
    low, high = np.percentile(volume[np.isfinite(volume)], (0.5, 99.5)) if window is None else _ends(window)
    across = ACROSS[axis]
    width, height = (edge for place, edge in enumerate(volume.shape) if place != across)
    check_size(width, height, path)
    for number in range(0, volume.shape[across], every):
        # Rows from above, columns from the patient's right or front.
        flat = volume.take(number, axis=across)[::-1, ::-1].T
        yield number, Image.fromarray(scale(flat, float(low), float(high)))


def _ends(window: tuple[float, float]) -> tuple[float, float]:
    centre, width = window
    return centre - width / 2, centre + width / 2


def _read_volume(path: Path) -> Volume:
    """Return a volume whose axes run to the patient's right, to the front and up."""
    shape = read_shape(path)
    if len(shape) < 3 or max(shape[3:], default=1) > 1:
        raise InputError(f"the file has {len(shape)} dimensions where a volume has three", where=str(path))
    nibabel = require("nibabel", "nifti", path)
    image: Any = nibabel.as_closest_canonical(nibabel.load(path, mmap=False))
    volume: Volume = np.asarray(image.dataobj, dtype=np.float32).reshape(image.shape[:3])
    if not np.isfinite(volume).any():
        raise InputError("the volume holds no finite value", where=str(path))
    return volume


def _is_second(raw: bytes) -> bool:
    """Tell NIfTI-2 from NIfTI-1 by the size that a header begins with, in either order of bytes."""
    return HEADER in (int.from_bytes(raw[:4], "little"), int.from_bytes(raw[:4], "big"))


def _stream(path: Path) -> Any:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")
