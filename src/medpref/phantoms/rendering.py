"""From facts to pixels: anatomy, lookalikes, lesions, and what the scanner adds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from medpref.phantoms import abdomen, brain, chest, radiographs
from medpref.phantoms.canvas import Canvas, Field
from medpref.phantoms.facts import Facts, Modality, Plane, Site
from medpref.phantoms.grid import pixel_grid, smooth_field
from medpref.phantoms.lesions import blend_lesions, draw_lesions, draw_lookalikes
from medpref.phantoms.tissues import TISSUES

ANATOMY: Mapping[tuple[Site, Plane], Callable[[Canvas], None]] = {
    ("brain", "axial"): brain.axial,
    ("brain", "coronal"): brain.coronal,
    ("brain", "sagittal"): brain.sagittal,
    ("chest", "axial"): chest.axial,
    ("chest", "coronal"): chest.coronal,
    ("chest", "frontal"): radiographs.chest_frontal,
    ("chest", "lateral"): radiographs.chest_lateral,
    ("abdomen", "axial"): abdomen.axial,
    ("abdomen", "coronal"): abdomen.coronal,
    ("abdomen", "frontal"): radiographs.abdomen_frontal,
}
"""What paints each view."""


@dataclass(frozen=True)
class Scanner:
    """What a modality adds to the anatomy."""

    noise: float
    """Standard deviation of the pixel noise, in grey values."""
    bias: float
    """Standard deviation of the smooth multiplicative field of a receive coil."""
    texture: float
    """Standard deviation of the tissue's own mottle, in grey values."""
    exposure: float
    """Largest change of overall brightness between examinations, in grey values."""


SCANNERS: Mapping[Modality, Scanner] = {
    "CT": Scanner(noise=0.028, bias=0.0, texture=0.012, exposure=0.02),
    "T1 MRI": Scanner(noise=0.022, bias=0.07, texture=0.014, exposure=0.02),
    "T2 MRI": Scanner(noise=0.025, bias=0.07, texture=0.014, exposure=0.02),
    "X-ray": Scanner(noise=0.016, bias=0.0, texture=0.008, exposure=0.05),
}


_MAX_PATIENTS = 40
"""Patients tried for one image: rarely, three large lesions do not fit into a patient's organs."""


@dataclass(frozen=True)
class Rendering:
    """The pixels of one phantom."""

    image: UInt8[np.ndarray, "h w"]
    twin: UInt8[np.ndarray, "h w"]
    """The same patient and the same noise without lesions."""
    mask: Bool[np.ndarray, "h w"]


def _varied_palette(modality: Modality, rng: np.random.Generator) -> dict[str, float]:
    """Return the grey values of the tissues, varied a little for one patient."""
    tissues = TISSUES[modality]
    offsets = rng.uniform(-0.025, 0.025, len(tissues))
    return {name: grey + float(offset) for (name, grey), offset in zip(tissues.items(), offsets, strict=True)}


def _acquisition(size: int, scanner: Scanner, rng: np.random.Generator) -> Callable[[Field], Field]:
    """Draw one acquisition's nuisances and return what applies them; the same to image and twin."""
    exposure = np.float32(scanner.exposure * rng.uniform(-1, 1))
    gain = np.exp(np.float32(scanner.bias) * smooth_field(rng, size, 1))
    grain = np.float32(scanner.texture) * smooth_field(rng, size, 24)
    grain += np.float32(scanner.noise) * rng.standard_normal((size, size), dtype=np.float32)

    def acquire(anatomy: Field) -> Field:
        acquired: Field = (anatomy + exposure) * gain + grain
        return acquired

    return acquire


def _quantised(image: Field) -> UInt8[np.ndarray, "h w"]:
    grey: UInt8[np.ndarray, "h w"] = (np.clip(image, 0, 1) * np.float32(255) + np.float32(0.5)).astype(
        np.uint8
    )
    return grey


def _patient(facts: Facts, size: int, rng: np.random.Generator) -> Canvas:
    """Paint one patient's anatomy."""
    canvas = Canvas(pixel_grid(size), _varied_palette(facts.modality, rng), rng)
    ANATOMY[facts.site, facts.plane](canvas)
    return canvas


def render(
    facts: Facts, size: int, contrast: float, scene: np.random.SeedSequence, noise: np.random.SeedSequence
) -> Rendering:
    """Render the image of the facts, its lesion-free twin and the mask of the lesions."""
    anatomy_rng, lookalike_rng, lesion_rng = (np.random.default_rng(seed) for seed in scene.spawn(3))
    for _ in range(_MAX_PATIENTS):
        canvas = _patient(facts, size, anatomy_rng)
        draw_lookalikes(canvas, contrast, lookalike_rng)
        lesions = draw_lesions(canvas, facts, lesion_rng)
        if lesions is not None:
            break
    else:
        raise ValueError(f"no patient has room for the lesions of {facts} at {size} pixels")
    diseased = blend_lesions(canvas.image, lesions, facts, contrast, lesion_rng)
    acquire = _acquisition(size, SCANNERS[facts.modality], np.random.default_rng(noise))
    return Rendering(
        image=_quantised(acquire(diseased)), twin=_quantised(acquire(canvas.image)), mask=lesions.mask
    )
