"""What is true of a phantom image, and how those facts are drawn.

The facts are drawn first and the picture is painted to them, so the ground truth is exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

Site = Literal["brain", "chest", "abdomen"]
Modality = Literal["CT", "T1 MRI", "T2 MRI", "X-ray"]
Plane = Literal["axial", "coronal", "sagittal", "frontal", "lateral"]
Size = Literal["small", "large"]
Side = Literal["left", "right"]
Vertical = Literal["upper", "lower"]
Intensity = Literal["bright", "dark"]

SITES: tuple[Site, ...] = ("brain", "chest", "abdomen")
MODALITIES: tuple[Modality, ...] = ("CT", "T1 MRI", "T2 MRI", "X-ray")
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal", "frontal", "lateral")
COUNTS: tuple[int, ...] = (1, 2, 3)
SIZES: tuple[Size, ...] = ("small", "large")
SIDES: tuple[Side, ...] = ("left", "right")
VERTICALS: tuple[Vertical, ...] = ("upper", "lower")
INTENSITIES: tuple[Intensity, ...] = ("bright", "dark")

EXAMINATIONS: Mapping[Site, Mapping[Modality, tuple[Plane, ...]]] = {
    "brain": {
        "CT": ("axial", "coronal", "sagittal"),
        "T1 MRI": ("axial", "coronal", "sagittal"),
        "T2 MRI": ("axial", "coronal", "sagittal"),
    },
    "chest": {"X-ray": ("frontal", "lateral"), "CT": ("axial", "coronal")},
    "abdomen": {
        "CT": ("axial", "coronal"),
        "T1 MRI": ("axial", "coronal"),
        "T2 MRI": ("axial", "coronal"),
        "X-ray": ("frontal",),
    },
}
"""The planes in which each site is imaged, by modality."""

SIDED_PLANES: frozenset[Plane] = frozenset({"axial", "coronal", "frontal"})
"""Planes that show the patient's left and right."""

UPRIGHT_PLANES: frozenset[Plane] = frozenset({"coronal", "sagittal", "frontal", "lateral"})
"""Planes whose vertical image axis is the body's long axis."""


@dataclass(frozen=True)
class Prevalence:
    """The lesion attributes that prevail at a site."""

    side: Side
    vertical: Vertical
    count: int
    size: Size


PREVALENCE: Mapping[Site, Prevalence] = {
    "brain": Prevalence(side="left", vertical="upper", count=1, size="small"),
    "chest": Prevalence(side="right", vertical="upper", count=1, size="small"),
    "abdomen": Prevalence(side="right", vertical="lower", count=2, size="large"),
}
"""What the prevalence prior pulls the lesion attributes of each site towards."""


@dataclass(frozen=True)
class Facts:
    """The ground truth of one phantom image.

    Attributes of lesions are None where there is no lesion or where the plane does not show them.
    """

    site: Site
    modality: Modality
    plane: Plane
    count: int
    size: Size | None
    side: Side | None
    """The patient's side; image left is the patient's right."""
    vertical: Vertical | None
    intensity: Intensity | None
    """Relative to the tissue around the lesion."""


T = TypeVar("T")


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Draw one of the options uniformly."""
    return options[int(rng.integers(len(options)))]


def sample_facts(rng: np.random.Generator, prior: float) -> Facts:
    """Draw the facts of one image.

    Site, modality, plane, presence and intensity are always balanced. With probability ``prior``, drawn
    independently for each of side, vertical location, count and size, the attribute takes the value that
    prevails at the site; otherwise it is uniform.
    """
    site = pick(rng, SITES)
    modality = pick(rng, tuple(EXAMINATIONS[site]))
    plane = pick(rng, EXAMINATIONS[site][modality])
    present = rng.random() < 0.5

    def draw(options: Sequence[T], prevailing: T) -> T:
        uniform = pick(rng, options)
        return prevailing if rng.random() < prior else uniform

    prevalence = PREVALENCE[site]
    # Every attribute is drawn whether or not it applies, so that the stream does not depend on the plane.
    count = draw(COUNTS, prevalence.count)
    size = draw(SIZES, prevalence.size)
    side = draw(SIDES, prevalence.side)
    vertical = draw(VERTICALS, prevalence.vertical)
    intensity = pick(rng, INTENSITIES)
    return Facts(
        site=site,
        modality=modality,
        plane=plane,
        count=count if present else 0,
        size=size if present else None,
        side=side if present and plane in SIDED_PLANES else None,
        vertical=vertical if present and plane in UPRIGHT_PLANES else None,
        intensity=intensity if present else None,
    )


def sample_lesions(rng: np.random.Generator) -> Facts:
    """Draw the attributes of lesions, all balanced; the rest of the facts says nothing."""
    return Facts(
        site="brain",
        modality="CT",
        plane="axial",
        count=pick(rng, COUNTS),
        size=pick(rng, SIZES),
        side=pick(rng, SIDES),
        vertical=pick(rng, VERTICALS),
        intensity=pick(rng, INTENSITIES),
    )
