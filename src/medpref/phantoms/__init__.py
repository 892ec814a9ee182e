"""Procedural medical phantom images with exact ground truth.

Every phantom is a grey-scale section or radiograph of a made-up patient together with the facts that are
true of it, a mask of its lesions, its lesion-free twin, and questions about it. Nothing is copied from an
atlas or a data set; everything follows from a seed.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from medpref.phantoms.counterfactuals import counterfactuals
from medpref.phantoms.facts import Facts, sample_facts, sample_lesions
from medpref.phantoms.questions import (
    KINDS,
    VISUAL_KINDS,
    Question,
    all_facts,
    ask,
    caption,
    report,
    vocabulary,
)
from medpref.phantoms.rendering import render

__all__ = [
    "DEFAULT_CONTRAST",
    "KINDS",
    "VISUAL_KINDS",
    "Facts",
    "Phantom",
    "Question",
    "all_facts",
    "generate",
    "generate_counterfactuals",
    "report",
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
    _check(seed, index, size, prior, contrast)
    facts_seed, wording_seed, scene_seed, noise_seed = _seeds(seed, index)
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


def generate_counterfactuals(
    seed: int, index: int, *, size: int = 64, prior: float = 0.0, contrast: float = DEFAULT_CONTRAST
) -> dict[tuple[str, str], UInt8[np.ndarray, "h w"]]:
    """Generate a phantom with one fact changed: images by question kind and the answer they make right.

    The arguments are `generate`'s. Patient, anatomy and noise are the phantom's own; a lesion keeps its place
    where the changed fact lets it. Where there is no lesion, lesions with attributes drawn uniformly appear.
    An image is left out where this patient has no room for its lesions: it would show another patient.
    """
    _check(seed, index, size, prior, contrast)
    facts_seed, _, scene_seed, noise_seed = _seeds(seed, index)
    facts = sample_facts(np.random.default_rng(facts_seed), prior)
    own = render(facts, size, contrast, *_again(scene_seed, noise_seed))
    imagined = sample_lesions(np.random.default_rng([seed, index, 1]))
    images = {}
    for kind, answer, changed in counterfactuals(facts, imagined):
        made = render(changed, size, contrast, *_again(scene_seed, noise_seed))
        # The twin is the patient without lesions: the same twin, the same patient.
        if np.array_equal(made.twin, own.twin):
            images[kind, answer] = made.image
    return images


def _check(seed: int, index: int, size: int, prior: float, contrast: float) -> None:
    if size < MIN_SIZE:
        raise ValueError(f"size must be at least {MIN_SIZE} pixels, not {size}")
    if not 0 <= prior <= 1:
        raise ValueError(f"prior must lie in [0, 1], not {prior}")
    if not 0 < contrast <= 1:
        raise ValueError(f"contrast must lie in (0, 1], not {contrast}")
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must not be negative, not {seed} and {index}")


def _seeds(seed: int, index: int) -> list[np.random.SeedSequence]:
    """Return the seeds of facts, wording, scene and noise."""
    return np.random.SeedSequence([seed, index]).spawn(4)


def _again(*seeds: np.random.SeedSequence) -> list[np.random.SeedSequence]:
    """Return the seeds as new ones: a sequence that has spawned spawns others next time."""
    return [np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key) for seed in seeds]
