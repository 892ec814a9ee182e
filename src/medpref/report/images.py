"""Images for a page: small copies in it or beside it, and the outline of a lesion as a path."""

import base64
import io
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from skimage.measure import approximate_polygon, find_contours

from medpref.errors import InputError
from medpref.files import content_hash, write_bytes
from medpref.pairs.images import open_image, open_mask
from medpref.report.svg import path_data

LARGEST = 384
"""The longest edge of an image on the page, in pixels; larger ones are made smaller."""

FOLDER = "report-images"
"""Where images stand that are not in the page."""

_EDGES = (LARGEST, 256, 192, 128, 64)
_MOST_BYTES = 3_300_000
"""Images that are in the page take a third more there; the rest of a page is below half a megabyte."""
_PIXELATED_BELOW = 200
_LARGEST_MASK = 256
_TOLERANCE = 0.35


class Images(Enum):
    """Where a page's images are."""

    EMBED = "embed"
    BESIDE = "beside"
    NONE = "none"


class Picture(NamedTuple):
    """An image as a URI, with its edges in pixels; a `pixelated` one is best enlarged unsmoothed."""

    uri: str
    width: int
    height: int
    pixelated: bool


class Copy(NamedTuple):
    """A small copy of an image, as the bytes of a file in a format such as PNG."""

    data: bytes
    form: str
    width: int
    height: int


class Outline(NamedTuple):
    """The outline of a region: SVG path data in a box of this width and height."""

    width: int
    height: int
    path: str


Place = Callable[[Copy], str]
"""Puts a copy somewhere and returns its URI."""


def in_page(copy: Copy) -> str:
    """Return a copy as a data URI."""
    data = base64.b64encode(copy.data).decode()
    return f"data:image/{copy.form.lower()};base64,{data}"


def beside_page(run: Path) -> Place:
    """Return what writes copies into `FOLDER` below `run`, named by their content."""

    def place(copy: Copy) -> str:
        name = f"{FOLDER}/{content_hash(copy.data)}.{copy.form.lower()}"
        write_bytes(run / name, copy.data, durable=False)
        return name

    return place


def read_copy(path: Path, largest: int = LARGEST) -> Copy | None:
    """Return an image without its metadata, at most `largest` pixels long; None where it cannot be read."""
    try:
        image = open_image(path)
    except InputError:
        return None
    small = max(image.size) <= _PIXELATED_BELOW
    image.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    form = "PNG" if small else "JPEG"
    buffer = io.BytesIO()
    image.save(buffer, form, optimize=True, **({} if small else {"quality": 80}))
    return Copy(buffer.getvalue(), form, *image.size)


def read_copies(cards: Sequence[Sequence[Path]], most_bytes: int = _MOST_BYTES) -> list[list[Copy]]:
    """Return the copies of each card's images, all made smaller until they take no more than `most_bytes`.

    Images that cannot be read are left out.
    """
    found: list[list[Copy]] = []
    for edge in _EDGES:
        found = [[copy for path in card if (copy := read_copy(path, edge))] for card in cards]
        if sum(len(copy.data) for card in found for copy in card) <= most_bytes:
            break
    return found


def picture(copy: Copy, place: Place) -> Picture:
    """Put a copy in its place."""
    return Picture(place(copy), copy.width, copy.height, pixelated=copy.form == "PNG")


def read_picture(path: Path) -> Picture | None:
    """Return an image for the page itself; None where it cannot be read."""
    copy = read_copy(path)
    return picture(copy, in_page) if copy else None


def read_outline(path: Path) -> Outline | None:
    """Return the outline of a mask's non-zero pixels; None where it is empty or cannot be read."""
    try:
        mask = Image.fromarray(open_mask(path))
    except InputError:
        return None
    if max(mask.size) > _LARGEST_MASK:
        mask.thumbnail((_LARGEST_MASK, _LARGEST_MASK), Image.Resampling.NEAREST)
    inside = np.pad(np.asarray(mask) > 0, 1)
    contours = [approximate_polygon(c, _TOLERANCE) for c in find_contours(inside.astype(float), 0.5)]
    # Contours are (row, column) of pixel centres, and the padding shifted them by one pixel.
    rings = [path_data([(float(x) - 0.5, float(y) - 0.5) for y, x in contour]) + "Z" for contour in contours]
    return Outline(*mask.size, "".join(rings)) if rings else None
