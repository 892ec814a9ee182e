"""Recipes for rejected images. A corruption is drawn once, before any scoring, and stored."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from medpref.errors import InputError
from medpref.files import content_hash
from medpref.pairs.images import open_image, open_mask, save_png
from medpref.pairs.pair import ImageRole, Pair
from medpref.pairs.recipes.base import Recipe, RecipeContext, generator, note_recipe
from medpref.registry import Registry

Pixels = UInt8[np.ndarray, "h w *c"]
Mask = Bool[np.ndarray, "h w"]

image_recipes: Registry[Recipe[Any]] = Registry("image recipe")


class ImageSettings(BaseModel):
    """What all image recipes share.

    Attributes:
        per: draw one corruption for each image, so that all its pairs share it, or one for each pair.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    per: Literal["image", "pair"] = "image"


class CropSettings(ImageSettings):
    """A crop that keeps a share of the area, in [least, most]."""

    least: float = Field(0.01, gt=0, le=1)
    most: float = Field(0.2, gt=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> "CropSettings":
        if self.least > self.most:
            raise ValueError(f"least ({self.least:g}) must not be above most ({self.most:g})")
        return self


class NoiseSettings(ImageSettings):
    """Diffusion noise after `step` of 1,000 steps."""

    step: int = Field(500, ge=1, le=1000)


def crop(pixels: Pixels, mask: Mask | None, settings: CropSettings, rng: np.random.Generator) -> Pixels:
    """Keep a random rectangle, scaled back to the image's size (mDPO, arXiv:2406.11839)."""
    height, width = pixels.shape[:2]
    share = float(rng.uniform(settings.least, settings.most)) ** 0.5
    box_height, box_width = max(1, round(height * share)), max(1, round(width * share))
    top = int(rng.integers(height - box_height + 1))
    left = int(rng.integers(width - box_width + 1))
    part = Image.fromarray(pixels[top : top + box_height, left : left + box_width])
    return np.asarray(part.resize((width, height), Image.Resampling.BICUBIC))


def noise(pixels: Pixels, mask: Mask | None, settings: NoiseSettings, rng: np.random.Generator) -> Pixels:
    """Add diffusion noise to the whole image (POVID, arXiv:2402.11411)."""
    return to_bytes(diffuse(to_unit(pixels), settings.step, rng))


def roi_noise(pixels: Pixels, mask: Mask | None, settings: NoiseSettings, rng: np.random.Generator) -> Pixels:
    """Add diffusion noise inside the region of interest only (MMedPO, arXiv:2412.06141).

    An image without a known region gets a random box of a quarter of its sides, so that noise alone
    does not tell that something was found.
    """
    region = random_box(pixels.shape[0], pixels.shape[1], rng) if mask is None or not mask.any() else mask
    noisy = to_bytes(diffuse(to_unit(pixels), settings.step, rng))
    result: Pixels = np.where(region if pixels.ndim == 2 else region[..., None], noisy, pixels)
    return result


def random_box(height: int, width: int, rng: np.random.Generator) -> Mask:
    """Return a mask of a random box with a quarter of the image's sides."""
    box_height, box_width = max(1, height // 4), max(1, width // 4)
    top, left = int(rng.integers(height - box_height + 1)), int(rng.integers(width - box_width + 1))
    mask = np.zeros((height, width), dtype=bool)
    mask[top : top + box_height, left : left + box_width] = True
    return mask


def to_unit(pixels: Pixels) -> Float[np.ndarray, "h w *c"]:
    """Scale bytes to [−1, 1]."""
    return pixels.astype(np.float64) / 127.5 - 1


def to_bytes(values: Float[np.ndarray, "h w *c"]) -> Pixels:
    """Scale [−1, 1] to bytes. Clips first: a negative value put into a byte wraps round to near-white."""
    pixels: Pixels = np.rint(np.clip((values + 1) * 127.5, 0, 255)).astype(np.uint8)
    return pixels


def diffuse(
    values: Float[np.ndarray, "h w *c"], step: int, rng: np.random.Generator
) -> Float[np.ndarray, "h w *c"]:
    """Draw x_k ~ q(x_k | x_0) = N(√ᾱ_k x_0, (1 − ᾱ_k) I) after `step` of 1,000 steps.

    The schedule is the one of POVID and VCD (arXiv:2311.16922): β_i runs from 1e-5 to 5e-3 along a logistic
    curve over [−6, 6], and ᾱ_k is the product of 1 − β_i up to k.
    """
    betas = 1e-5 + (5e-3 - 1e-5) / (1 + np.exp(-np.linspace(-6, 6, 1000)))
    kept = float(np.prod(1 - betas[:step]))
    noised: Float[np.ndarray, "h w *c"] = kept**0.5 * values + (1 - kept) ** 0.5 * rng.standard_normal(
        values.shape
    )
    return noised


def _recipe(
    name: str,
    summary: str,
    settings: type[ImageSettings],
    corrupt: Callable[[Pixels, Mask | None, Any, np.random.Generator], Pixels],
) -> None:
    """Register a corruption of single images as a recipe on pairs."""

    def make(pairs: Sequence[Pair], chosen: ImageSettings, context: RecipeContext) -> list[Pair]:
        return [_corrupt_pair(pair, name, corrupt, chosen, context.seed, context.folder) for pair in pairs]

    image_recipes.add(name, Recipe(summary, settings, make))


def _corrupt_pair(
    pair: Pair, name: str, corrupt: Callable[..., Pixels], settings: ImageSettings, seed: int, folder: Path
) -> Pair:
    """Give a pair its rejected images; what was drawn for another pair on the image is used again."""
    clean = pair.images.get(ImageRole.CLEAN, ())
    if not clean:
        raise InputError(f"the recipe {name} needs an image", where=f"pair {pair.id}")
    drawn_for = pair.id if settings.per == "pair" else ""
    rejected = []
    for path in clean:
        mark = content_hash(str(path), str(pair.region), drawn_for, seed, settings.model_dump())
        target = folder / "images" / f"{path.stem}-{name}-{mark}.png"
        if not target.exists():
            pixels = np.asarray(open_image(path))
            mask = _mask(pair, pixels)
            # Drawn by the file's name, not its place: a moved data set draws the same corruptions.
            rng = generator(seed, name, path.name, drawn_for)
            save_png(target, Image.fromarray(corrupt(pixels, mask, settings, rng)))
        rejected.append(target)
    return note_recipe(pair.with_images(ImageRole.REJECTED, tuple(rejected)), name, seed)


def _mask(pair: Pair, pixels: Pixels) -> Mask | None:
    """Return the mask of the pair's region of interest.

    Raises:
        InputError: it has another size than the image.
    """
    if pair.region is None:
        return None
    mask = open_mask(pair.region)
    if mask.shape != pixels.shape[:2]:
        raise InputError(
            f"the region of interest is {mask.shape[1]} × {mask.shape[0]} pixels, "
            f"the image {pixels.shape[1]} × {pixels.shape[0]}",
            where=f"pair {pair.id}",
        )
    return mask


_recipe("crop", "a random crop that keeps 1–20 % of the area, resized back (mDPO)", CropSettings, crop)
_recipe("noise", "diffusion noise on the whole image, step 500 of 1,000 (POVID, CHiP)", NoiseSettings, noise)
_recipe("roi-noise", "diffusion noise inside the region of interest (MMedPO)", NoiseSettings, roi_noise)
