"""What corruptions of images share: their settings, their types, and the table of them."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from pydantic import BaseModel, ConfigDict

from medpref.pairs.recipes.base import Recipe
from medpref.registry import Registry

Pixels = UInt8[np.ndarray, "h w *c"]
Mask = Bool[np.ndarray, "h w"]
Values = Float[np.ndarray, "h w *c"]

image_recipes: Registry[Recipe[Any]] = Registry("image recipe")


class ImageSettings(BaseModel):
    """What all recipes that draw share.

    Attributes:
        per: draw one corruption for each image, so that all its pairs share it, or one for each pair.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    per: Literal["image", "pair"] = "image"


Corrupt = Callable[[Pixels, Mask | None, Any, np.random.Generator], Pixels]
"""``corrupt(pixels, region, settings, rng)`` returns pixels of the same shape; a region is never empty."""


class Corruption(NamedTuple):
    """How pixels are made worse, and whether that needs a region of interest."""

    corrupt: Corrupt
    regional: bool


corruptions: dict[str, Corruption] = {}
"""By recipe: a worker process looks up here what it has to do."""


class UnusableImageError(Exception):
    """A corruption can make nothing of an image; its pairs are left out with the message as the reason."""


def to_unit(pixels: Pixels) -> Values:
    """Scale bytes to [−1, 1]."""
    return pixels.astype(np.float64) / 127.5 - 1


def to_bytes(values: Values) -> Pixels:
    """Scale [−1, 1] to bytes. Clips first: a negative value put into a byte wraps round to near-white."""
    pixels: Pixels = np.rint(np.clip((values + 1) * 127.5, 0, 255)).astype(np.uint8)
    return pixels


def inside(region: Mask, made: Pixels, pixels: Pixels) -> Pixels:
    """Return `made` inside the region and `pixels`, to the bit, outside."""
    result: Pixels = np.where(region if pixels.ndim == 2 else region[..., None], made, pixels)
    return result
