"""Corruptions that take away what the region of interest shows: blurred, or filled from around it."""

import numpy as np
from PIL import Image
from pydantic import Field
from skimage.restoration import inpaint_biharmonic

from medpref.pairs.recipes.images.corruption import (
    Mask,
    Pixels,
    UnusableImageError,
    inside,
    to_bytes,
    to_unit,
)
from medpref.pairs.recipes.images.region_sources import RegionSettings, region_or_box
from medpref.pairs.recipes.images.whole import BlurSettings, blur


class RegionBlurSettings(RegionSettings, BlurSettings):
    """A Gaussian blur by a share of the image's longer side, and where the region comes from."""


class InpaintSettings(RegionSettings):
    """How a region is filled.

    Attributes:
        most: how many pixels are solved for at most; a larger region is filled at a lower resolution.
        grow: as of all regions, but not 0 by default: the rim of a lesion often lies outside its mask, and a
            fill from there would draw the lesion again.
    """

    grow: float = Field(0.02, ge=0, le=0.25)
    most: int = Field(10_000, ge=16)


def roi_blur(pixels: Pixels, region: Mask | None, settings: BlurSettings, rng: np.random.Generator) -> Pixels:
    """Blur inside the region of interest only; a random box takes the place of a region that is missing."""
    known = region_or_box(region, pixels, rng)
    return inside(known, blur(pixels, None, settings, rng), pixels)


def roi_inpaint(
    pixels: Pixels, region: Mask | None, settings: InpaintSettings, rng: np.random.Generator
) -> Pixels:
    """Fill the region of interest from its surroundings, or a random box where there is no region.

    The fill is the biharmonic one (Damelin and Hoang 2018, doi 10.1155/2018/3950312), smooth in value and
    slope. It solves a linear system for all pixels of the region, so that a region of more than
    ``settings.most`` pixels is filled on a smaller copy.

    Raises:
        UnusableImageError: the region leaves nothing to fill it from.
    """
    known = region_or_box(region, pixels, rng)
    window = _window(known)
    part, hole = pixels[window], known[window]
    if hole.all():
        raise UnusableImageError("the region of interest leaves nothing to fill it from")
    made = pixels.copy()
    made[window] = inside(hole, _fill(part, hole, settings.most), part)
    return made


def _window(region: Mask) -> tuple[slice, slice]:
    """Return the rows and columns of a region with a margin of a quarter of its extent, 8 pixels at least."""
    slices = []
    for axis in (1, 0):
        places = np.flatnonzero(region.any(axis=axis))
        first, last = int(places[0]), int(places[-1])
        margin = max(8, (last - first + 1) // 4)
        slices.append(slice(max(0, first - margin), last + margin + 1))
    return slices[0], slices[1]


def _fill(part: Pixels, hole: Mask, most: int) -> Pixels:
    """Return `part` with the hole filled; at full resolution where the hole has at most `most` pixels."""
    height, width = hole.shape
    scale = min(1.0, (most / int(hole.sum())) ** 0.5)
    if scale == 1:
        return to_bytes(_solve(to_unit(part), hole))
    size = (max(2, int(width * scale)), max(2, int(height * scale)))
    small = np.asarray(Image.fromarray(part).resize(size, Image.Resampling.BOX))
    # A small pixel that any of the hole went into shows some of what is to be taken away.
    covered = Image.fromarray(hole.astype(np.float32)).resize(size, Image.Resampling.BOX)
    small_hole = np.asarray(covered) > 0
    if small_hole.all():
        raise UnusableImageError("the region of interest leaves too little to fill it from")
    filled = Image.fromarray(to_bytes(_solve(to_unit(small), small_hole)))
    return np.asarray(filled.resize((width, height), Image.Resampling.BICUBIC))


def _solve(values: np.ndarray, hole: Mask) -> np.ndarray:
    filled: np.ndarray = inpaint_biharmonic(values, hole, channel_axis=-1 if values.ndim == 3 else None)
    return filled
