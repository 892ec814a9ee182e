"""Open any image file: which kind it is, is looked up once."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from PIL import Image

from medpref.errors import InputError
from medpref.files import write_bytes
from medpref.pairs.images.dicom import dicom_size, open_dicom
from medpref.pairs.images.limits import readable
from medpref.pairs.images.nifti import nifti_size, open_nifti
from medpref.pairs.images.ordinary import open_ordinary, ordinary_size, ordinary_values


class Kind(NamedTuple):
    """How files of one kind are read; all raise `InputError`.

    Attributes:
        image: returns the one image of a file.
        size: returns its width and height from the header.
        values: returns what a mask is read from.
    """

    image: Callable[[Path], Image.Image]
    size: Callable[[Path], tuple[int, int]]
    values: Callable[[Path], np.ndarray]


ORDINARY = Kind(open_ordinary, ordinary_size, ordinary_values)
DICOM = Kind(open_dicom, dicom_size, lambda path: np.asarray(open_dicom(path)))
NIFTI = Kind(open_nifti, nifti_size, lambda path: np.asarray(open_nifti(path)))
SUFFIXES = {".dcm": DICOM, ".dicom": DICOM, ".nii": NIFTI}


def kind_of(path: Path) -> Kind:
    """Return a file's kind, by its first bytes and else by its name. Raises `OSError`."""
    with path.open("rb") as file:
        start = file.read(352)
    if start[128:132] == b"DICM":
        return DICOM
    name = path.name.lower().removesuffix(".gz")
    return SUFFIXES.get(Path(name).suffix, ORDINARY)


def open_image(path: Path) -> Image.Image:
    """Open and decode an image file: grey images as ``L``, all others as ``RGB``, 8 bits a channel.

    The image is upright and has no metadata. How deeper grey values, transparency and DICOM's windows are
    shown is told in ``docs/images.md``.

    Raises:
        InputError: the file is missing, too large, no image, or holds several.
    """
    with readable(path):
        return kind_of(path).image(path)


def image_size(path: Path) -> tuple[int, int]:
    """Return the width and height in pixels of what `open_image` would return, from the file's header.

    Raises:
        InputError: as `open_image` does, as far as the header tells.
    """
    with readable(path):
        return kind_of(path).size(path)


def image_fault(path: Path) -> str | None:
    """Return why an image file cannot be used, or None. Decodes it whole: a cut file has a sound header."""
    try:
        open_image(path)
    except InputError as error:
        return error.what
    return None


def open_mask(path: Path) -> Bool[np.ndarray, "h w"]:
    """Open a mask file: True wherever a pixel is not black, be it as dark as can be.

    Raises:
        InputError: as `open_image` does.
    """
    with readable(path):
        values = kind_of(path).values(path)
    mask: Bool[np.ndarray, "h w"] = np.any(values, axis=-1) if values.ndim == 3 else np.not_equal(values, 0)
    return mask


def save_png(path: Path, image: Image.Image) -> None:
    """Write a PNG, whole or not at all and without metadata. Raises `RunError` as `write_bytes` does."""
    bare = image.copy()
    bare.info = {}
    buffer = io.BytesIO()
    bare.save(buffer, "PNG", compress_level=1)
    write_bytes(path, buffer.getvalue(), durable=False)
