"""Diffusion noise: on the whole image, inside the region of interest, or outside it."""

import numpy as np
from pydantic import Field

from medpref.pairs.recipes.images.corruption import (
    ImageSettings,
    Mask,
    Pixels,
    UnusableImageError,
    Values,
    inside,
    to_bytes,
    to_unit,
)
from medpref.pairs.recipes.images.region_sources import RegionSettings, region_or_box


class NoiseSettings(ImageSettings):
    """Diffusion noise after `step` of 1,000 steps."""

    step: int = Field(500, ge=1, le=1000)


class RegionNoiseSettings(RegionSettings, NoiseSettings):
    """Diffusion noise after `step` of 1,000 steps, and where the region comes from."""


def noise(pixels: Pixels, region: Mask | None, settings: NoiseSettings, rng: np.random.Generator) -> Pixels:
    """Add diffusion noise to the whole image (POVID, arXiv:2402.11411)."""
    return to_bytes(diffuse(to_unit(pixels), settings.step, rng))


def roi_noise(
    pixels: Pixels, region: Mask | None, settings: NoiseSettings, rng: np.random.Generator
) -> Pixels:
    """Add diffusion noise inside the region of interest only (MMedPO, arXiv:2412.06141).

    Without a region, or with an empty one, a random box of a quarter of the image's sides takes its place.
    """
    known = region_or_box(region, pixels, rng)
    return inside(known, noise(pixels, None, settings, rng), pixels)


def outside_noise(
    pixels: Pixels, region: Mask | None, settings: NoiseSettings, rng: np.random.Generator
) -> Pixels:
    """Add diffusion noise everywhere but in the region of interest: the control of `roi_noise`.

    Raises:
        UnusableImageError: the region is the whole image.
    """
    known = region_or_box(region, pixels, rng)
    if known.all():
        raise UnusableImageError("the region of interest is the whole image")
    return inside(~known, noise(pixels, None, settings, rng), pixels)


def diffuse(values: Values, step: int, rng: np.random.Generator) -> Values:
    """Draw x_k ~ q(x_k | x_0) = N(√ᾱ_k x_0, (1 − ᾱ_k) I) after `step` of 1,000 steps.

    The schedule is the one of POVID and VCD (arXiv:2311.16922): β_i runs from 1e-5 to 5e-3 along a logistic
    curve over [−6, 6], and ᾱ_k is the product of 1 − β_i up to k.
    """
    betas = 1e-5 + (5e-3 - 1e-5) / (1 + np.exp(-np.linspace(-6, 6, 1000)))
    kept = float(np.prod(1 - betas[:step]))
    noised: Values = kept**0.5 * values + (1 - kept) ** 0.5 * rng.standard_normal(values.shape)
    return noised
