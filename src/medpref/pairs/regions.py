"""Regions of interest as masks: from a mask file, from boxes, from a heat map.

A mask is True inside the region and has the size of the image that it belongs to. Every function here
raises `InputError` where a region does not fit its image, rather than cut it to fit.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import distance_transform_edt

from medpref.errors import InputError
from medpref.pairs.images import open_mask
from medpref.pairs.images.limits import check_size, readable
from medpref.pairs.images.opening import kind_of

Mask = Bool[np.ndarray, "h w"]
Heat = Float[np.ndarray, "h w"]
Shown = Literal["padded", "cropped", "stretched"]


class Box(BaseModel):
    """A rectangle on an image.

    Attributes:
        x, y: its left upper corner, from the image's left upper corner.
        width, height: its extent; a box of no extent is no region.
        unit: whether the four are pixels, or shares of the image's width and height in [0, 1].
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    x: float = Field(ge=0)
    y: float = Field(ge=0)
    width: float = Field(gt=0)
    height: float = Field(gt=0)
    unit: Literal["pixels", "shares"] = "pixels"

    def edges(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return top, bottom, left and right edge in pixels of an image; bottom and right lie outside.

        A box has at least one pixel each way. Raises `InputError` where it reaches out of the image.
        """
        across, down = (width, height) if self.unit == "shares" else (1, 1)
        left, right = round(self.x * across), round((self.x + self.width) * across)
        top, bottom = round(self.y * down), round((self.y + self.height) * down)
        if right > width or bottom > height:
            raise InputError(
                f"the box reaches to {right} × {bottom} pixels, the image has {width} × {height}",
                remedy="Give x, y, width and height in pixels of the image, or, with unit: shares, up to 1.",
            )
        left, top = min(left, width - 1), min(top, height - 1)
        return top, max(bottom, top + 1), left, max(right, left + 1)


def read_mask(path: Path, height: int, width: int) -> Mask:
    """Read a mask file: True wherever a pixel is not black.

    Raises:
        InputError: the file cannot be read, or has another size than the image.
    """
    mask = open_mask(path)
    if mask.shape != (height, width):
        raise InputError(
            f"the region of interest is {mask.shape[1]} × {mask.shape[0]} pixels, "
            f"the image {width} × {height}",
            where=str(path),
        )
    return mask


def grown(mask: Mask, pixels: float) -> Mask:
    """Return a mask with all pixels that lie at most `pixels` from it, centre to centre."""
    if pixels < 1 or not mask.any():
        return mask
    wider: Mask = distance_transform_edt(~mask) <= pixels
    return wider


def from_boxes(boxes: Sequence[Box], height: int, width: int) -> Mask:
    """Return the mask of all pixels in any of `boxes`. Raises `InputError` for a box outside the image."""
    mask = np.zeros((height, width), dtype=bool)
    for box in boxes:
        top, bottom, left, right = box.edges(height, width)
        mask[top:bottom, left:right] = True
    return mask


def read_heat(path: Path) -> Heat:
    """Read a heat map, the hotter the larger: a two-dimensional NPY file (never pickled), or a grey image.

    Raises:
        InputError: the file cannot be read, is too large, has another shape, or values that are not finite.
    """
    heat = _read_npy(path) if path.suffix.lower() == ".npy" else _read_grey(path)
    if heat.ndim != 2 or not heat.size or heat.dtype.kind not in "buif":
        raise InputError(f"a heat map has rows and columns of numbers, this is {heat.shape}", where=str(path))
    values: Heat = heat.astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError("the heat map holds values that are not finite", where=str(path))
    return values


def _read_npy(path: Path) -> np.ndarray:
    try:
        # Mapped, so that a header that tells of terabytes takes no memory.
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"the heat map cannot be read: {error}", where=str(path)) from None
    if mapped.ndim == 2:
        check_size(mapped.shape[1], mapped.shape[0], path)
        return np.array(mapped)
    return np.empty(mapped.shape[:1] + (0,) * (mapped.ndim - 1))


def _read_grey(path: Path) -> np.ndarray:
    with readable(path):
        values = kind_of(path).values(path)
    if values.ndim == 3 and (values != values[..., :1]).any():
        raise InputError(
            "the heat map is in colours, which have no order",
            where=str(path),
            remedy="Save the values themselves: as a grey image, or as an NPY file.",
        )
    return values[..., 0] if values.ndim == 3 else values


def from_heat(heat: Heat, quantile: float, height: int, width: int) -> Mask:
    """Return where a heat map is hotter than its own `quantile`, in [0, 1), after scaling it to the image.

    A map without any difference gives an empty mask: it points nowhere.
    """
    if np.ptp(heat) == 0:
        return np.zeros((height, width), dtype=bool)
    scaled = scale_heat(heat, height, width)
    limit = np.quantile(scaled, quantile)
    # Where the limit is the top of a plateau, nothing is hotter than it: the plateau is the region.
    hotter: Mask = scaled > limit if (scaled > limit).any() else scaled >= limit
    return hotter


def scale_heat(heat: Heat, height: int, width: int) -> Heat:
    """Return a heat map in the image's size, bilinear."""
    if heat.shape == (height, width):
        return heat
    picture = Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    scaled: Heat = np.asarray(picture, dtype=np.float64)
    return scaled


def from_square(heat: Heat, height: int, width: int, *, shown: Shown) -> Heat:
    """Bring a model's view of an image back onto the image.

    Args:
        heat: on the square that the model was shown, whatever its resolution.
        height, width: of the image in pixels.
        shown: how the image was made a square: ``padded`` around its centre, ``cropped`` to its central
            square, of which what lies outside is as cool as the coolest part, or ``stretched``.
    """
    if shown == "stretched":
        return scale_heat(heat, height, width)
    side = max(height, width) if shown == "padded" else min(height, width)
    square = scale_heat(heat, side, side)
    top, left = abs(side - height) // 2, abs(side - width) // 2
    if shown == "padded":
        return square[top : top + height, left : left + width]
    whole = np.full((height, width), square.min())
    whole[top : top + side, left : left + side] = square
    return whole
