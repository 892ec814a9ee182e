"""Corruptions of the whole image: crop, blank, blur, shuffled patches, and the mirror image."""

from typing import Literal

import numpy as np
from PIL import Image
from pydantic import Field, model_validator
from scipy.ndimage import gaussian_filter

from medpref.pairs.recipes.images.corruption import (
    ImageSettings,
    Mask,
    Pixels,
    UnusableImageError,
    to_bytes,
    to_unit,
)


class CropSettings(ImageSettings):
    """A crop that keeps a share of the area, in [least, most]."""

    least: float = Field(0.01, gt=0, le=1)
    most: float = Field(0.2, gt=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> "CropSettings":
        if self.least > self.most:
            raise ValueError(f"least ({self.least:g}) must not be above most ({self.most:g})")
        return self


class BlankSettings(ImageSettings):
    """A uniform image, black or in the mean colour of the image that it replaces."""

    colour: Literal["black", "mean"] = "black"


class BlurSettings(ImageSettings):
    """A Gaussian blur whose standard deviation is a share of the image's longer side."""

    sigma: float = Field(0.05, gt=0, le=1)


class ShuffleSettings(ImageSettings):
    """A grid of `patches` × `patches` equal patches."""

    patches: int = Field(8, ge=2, le=256)


def crop(pixels: Pixels, region: Mask | None, settings: CropSettings, rng: np.random.Generator) -> Pixels:
    """Keep a random rectangle, scaled back to the image's size (mDPO, arXiv:2406.11839)."""
    height, width = pixels.shape[:2]
    share = float(rng.uniform(settings.least, settings.most)) ** 0.5
    box_height, box_width = max(1, round(height * share)), max(1, round(width * share))
    top = int(rng.integers(height - box_height + 1))
    left = int(rng.integers(width - box_width + 1))
    part = Image.fromarray(pixels[top : top + box_height, left : left + box_width])
    return np.asarray(part.resize((width, height), Image.Resampling.BICUBIC))


def blank(pixels: Pixels, region: Mask | None, settings: BlankSettings, rng: np.random.Generator) -> Pixels:
    """Show nothing: what is learned from such a pair is whether the image is looked at at all."""
    made = np.zeros_like(pixels)
    if settings.colour == "mean":
        made[:] = np.rint(pixels.mean(axis=(0, 1)))
    return made


def blur(pixels: Pixels, region: Mask | None, settings: BlurSettings, rng: np.random.Generator) -> Pixels:
    """Blur each channel with a Gaussian; the edges are continued outwards."""
    sigma = settings.sigma * max(pixels.shape[:2])
    axes = (sigma, sigma, 0)[: pixels.ndim]
    return to_bytes(gaussian_filter(to_unit(pixels), axes, mode="nearest"))


def patch_shuffle(
    pixels: Pixels, region: Mask | None, settings: ShuffleSettings, rng: np.random.Generator
) -> Pixels:
    """Put the patches of a regular grid in another, random order: all parts are there, no place is right.

    All patches are of one size. What the grid leaves over at the right and lower edge, less than one row or
    column of patches, stays where it is.

    Raises:
        UnusableImageError: the image is a single pixel high or wide.
    """
    height, width = pixels.shape[:2]
    rows, columns = min(settings.patches, height), min(settings.patches, width)
    if min(rows, columns) < 2:
        raise UnusableImageError("the image is too small to be cut into patches")
    tall, wide = height // rows, width // columns
    grid = pixels[: rows * tall, : columns * wide].reshape(rows, tall, columns, wide, -1).swapaxes(1, 2)
    patches = grid.reshape(rows * columns, tall, wide, -1)
    order = np.arange(len(patches))
    while (order == np.arange(len(patches))).all():
        order = rng.permutation(len(patches))
    moved = patches[order].reshape(rows, columns, tall, wide, -1).swapaxes(1, 2)
    made = pixels.copy()
    made[: rows * tall, : columns * wide] = moved.reshape(rows * tall, columns * wide, *pixels.shape[2:])
    return made


def flip(pixels: Pixels, region: Mask | None, settings: ImageSettings, rng: np.random.Generator) -> Pixels:
    """Exchange left and right."""
    return np.ascontiguousarray(pixels[:, ::-1])
