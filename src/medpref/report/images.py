"""Images for a page that stands alone: small data URIs, and the outline of a lesion as a path."""

import base64
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from skimage.measure import approximate_polygon, find_contours

from medpref.errors import InputError
from medpref.pairs.images import open_image, open_mask
from medpref.report.svg import path_data

LARGEST = 384
"""The longest edge of an image on the page, in pixels; larger ones are made smaller."""

_PIXELATED_BELOW = 200
_LARGEST_MASK = 256
_TOLERANCE = 0.35


class Picture(NamedTuple):
    """An image as a data URI, with its edges in pixels; a `pixelated` one is best enlarged unsmoothed."""

    uri: str
    width: int
    height: int
    pixelated: bool


class Outline(NamedTuple):
    """The outline of a region: SVG path data in a box of this width and height."""

    width: int
    height: int
    path: str


def read_picture(path: Path) -> Picture | None:
    """Return an image without its metadata, at most `LARGEST` pixels long; None where it cannot be read."""
    try:
        image = open_image(path)
    except InputError:
        return None
    small = max(image.size) <= _PIXELATED_BELOW
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    form = "PNG" if small else "JPEG"
    buffer = io.BytesIO()
    image.save(buffer, form, optimize=True, **({} if small else {"quality": 80}))
    data = base64.b64encode(buffer.getvalue()).decode()
    return Picture(f"data:image/{form.lower()};base64,{data}", *image.size, pixelated=small)


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
