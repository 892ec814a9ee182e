"""Procedural medical phantom images with exact ground truth.

Every phantom is a grey-scale section or radiograph of a made-up patient together with the facts that are
true of it, a mask of its lesions, its lesion-free twin, and questions about it. Nothing is copied from an
atlas or a data set; everything follows from a seed.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from medpref.phantoms.facts import Facts, sample_facts
from medpref.phantoms.questions import KINDS, VISUAL_KINDS, Question, ask, caption, vocabulary
from medpref.phantoms.rendering import render

__all__ = [
    "DEFAULT_CONTRAST",
    "KINDS",
    "VISUAL_KINDS",
    "Facts",
    "Phantom",
    "Question",
    "generate",
    "vocabulary",
]

DEFAULT_CONTRAST = 0.34
"""Grey-value difference between a lesion and its surroundings, as a fraction of the full range."""

MIN_SIZE = 32
"""Least image size in pixels: below it two lesions could touch."""


@dataclass(frozen=True, eq=False)
class Phantom:
    """One made-up examination and everything that is known about it."""

    image: UInt8[np.ndarray, "h w"]
    twin: UInt8[np.ndarray, "h w"]
    """The same patient and the same noise without lesions; identical to the image away from the mask."""
    mask: Bool[np.ndarray, "h w"]
    """The pixels of the lesions."""
    facts: Facts
    questions: tuple[Question, ...]
    """One question of every kind that applies."""
    caption: Question


def generate(
    seed: int, index: int, *, size: int = 64, prior: float = 0.0, contrast: float = DEFAULT_CONTRAST
) -> Phantom:
    """Generate the phantom number ``index`` of the stream ``seed``.

    ``size`` is the edge length in pixels. ``prior`` in [0, 1] is the strength with which the attributes of
    lesions follow what prevails at their site; at 0 everything is balanced. ``contrast`` is the grey-value
    difference between lesions and their surroundings, as a fraction of the full range.
    """
    if size < MIN_SIZE:
        raise ValueError(f"size must be at least {MIN_SIZE} pixels, not {size}")
    if not 0 <= prior <= 1:
        raise ValueError(f"prior must lie in [0, 1], not {prior}")
    if not 0 < contrast <= 1:
        raise ValueError(f"contrast must lie in (0, 1], not {contrast}")
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must not be negative, not {seed} and {index}")
    facts_seed, wording_seed, scene_seed, noise_seed = np.random.SeedSequence([seed, index]).spawn(4)
    facts = sample_facts(np.random.default_rng(facts_seed), prior)
    rendering = render(facts, size, contrast, scene_seed, noise_seed)
    wording_rng = np.random.default_rng(wording_seed)
    return Phantom(
        image=rendering.image,
        twin=rendering.twin,
        mask=rendering.mask,
        facts=facts,
        questions=ask(facts, wording_rng),
        caption=caption(facts, wording_rng),
    )
