"""Lesions: where they lie, what they look like, and the lookalikes that are none."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy import ndimage

from medpref.phantoms.canvas import Canvas, Field
from medpref.phantoms.facts import Facts, Intensity, Side, Size, Vertical, pick

SIDE_SIGN: Mapping[Side, int] = {"left": 1, "right": -1}
"""The sign of x and u: the patient's left is on image right."""

VERTICAL_SIGN: Mapping[Vertical, int] = {"upper": -1, "lower": 1}
"""The sign of y and v, which point downwards."""

POLARITY: Mapping[Intensity, int] = {"bright": 1, "dark": -1}
"""The sign of the lesion's difference from its surroundings."""

RADII: Mapping[tuple[Size, int], tuple[float, float]] = {
    ("small", 1): (0.080, 0.100),
    ("small", 2): (0.080, 0.100),
    ("small", 3): (0.080, 0.100),
    ("large", 1): (0.160, 0.200),
    ("large", 2): (0.155, 0.185),
    ("large", 3): (0.142, 0.160),
}
"""Range of the mean radius by size class and count; 0.1 is 3.2 pixels of a 64-pixel image.

Where there are more large lesions they are a little smaller, else three would not fit into half a lung.
"""

_GAP = 0.08
"""Least distance between the outlines of two lesions."""
_LOBULATION = 0.12
"""Largest relative bulge of a lesion's outline."""
_EDGE = 0.05
_MIDLINE_MARGIN = 0.09
_EQUATOR_MARGIN = 0.07
_CONTAINMENTS = (1.0, 0.75, 0.5, 0.3)
"""How far into the organ the centres have to lie, as fractions of the radius: as deep as there is room."""
_PLACES = 160
"""Candidate centres among which a free arrangement is sought exhaustively."""


@dataclass(frozen=True)
class Lesions:
    """The lesions of one image."""

    profile: Field
    """How much of each pixel is lesion, in [0, 1]; exactly 0 away from the lesions."""
    mask: Bool[np.ndarray, "h w"]
    """The pixels of which at least half is lesion."""


def _eligible(canvas: Canvas, facts: Facts, radius: float, containment: float) -> Bool[np.ndarray, "h w"]:
    """Return the pixels on which a lesion may be centred, ``containment`` radii deep in the organ."""
    # Both the body's and the image's midline count, so that a shift of the patient makes nothing ambiguous.
    depth = ndimage.distance_transform_edt(canvas.organ > 0.5) * canvas.grid.pixel
    eligible: Bool[np.ndarray, "h w"] = depth > containment * radius
    if facts.side is not None:
        sign = SIDE_SIGN[facts.side]
        eligible &= (sign * canvas.u > max(0.9 * radius, _MIDLINE_MARGIN)) & (
            sign * canvas.grid.x > _MIDLINE_MARGIN
        )
    if facts.vertical is not None:
        sign = VERTICAL_SIGN[facts.vertical]
        eligible &= (sign * canvas.v > _EQUATOR_MARGIN) & (sign * canvas.grid.y > _EQUATOR_MARGIN)
    return eligible


def _compatible(apart: Bool[np.ndarray, "n n"], count: int, rng: np.random.Generator) -> list[int] | None:
    """Draw ``count`` (one to three) of n places, all apart from each other; None if that cannot be."""
    if count == 1:
        return [0]
    # Entry (i, j) counts the places apart from both i and j, where i and j are apart themselves.
    links = apart.astype(np.float32)
    pairs = np.argwhere(apart if count == 2 else apart & (links @ links > 0))
    if len(pairs) == 0:
        return None
    pair: list[int] = pairs[int(rng.integers(len(pairs)))].tolist()
    if count == 2:
        return pair
    thirds: list[int] = np.flatnonzero(apart[pair].all(axis=0)).tolist()
    return [*pair, pick(rng, thirds)]


def _place(
    canvas: Canvas, facts: Facts, radius: float, rng: np.random.Generator
) -> Float[np.ndarray, "n 2"] | None:
    """Draw centres (x, y) of lesions up to ``radius`` that do not overlap; None where there is no room."""
    spacing = 2 * radius * (1 + _LOBULATION) + max(_GAP, 1.5 * canvas.grid.pixel)
    for containment in _CONTAINMENTS:
        places = rng.permutation(np.argwhere(_eligible(canvas, facts, radius, containment)))[:_PLACES]
        if len(places) == 0:
            continue
        centres = np.stack([canvas.grid.x[0, places[:, 1]], canvas.grid.y[places[:, 0], 0]], axis=1)
        apart = np.hypot(*(centres[:, None] - centres[None]).transpose(2, 0, 1)) >= spacing
        chosen = _compatible(apart, facts.count, rng)
        if chosen is not None:
            return np.asarray(centres[chosen], dtype=np.float64)
    return None


def _outline(
    canvas: Canvas, centre: Float[np.ndarray, " 2"], radius: float, rng: np.random.Generator
) -> Float32[np.ndarray, "h w"]:
    """Return the profile of one slightly lobulated lesion."""
    dx = canvas.grid.x - np.float32(centre[0])
    dy = canvas.grid.y - np.float32(centre[1])
    distance = np.sqrt(dx * dx + dy * dy) + np.float32(1e-6)
    cosine, sine = dx / distance, dy / distance
    second, third = (float(phase) for phase in rng.uniform(0, 2 * np.pi, 2))
    double_cosine, double_sine = cosine * cosine - sine * sine, 2 * cosine * sine
    triple_cosine = double_cosine * cosine - double_sine * sine
    triple_sine = double_sine * cosine + double_cosine * sine
    bulge = math.cos(second) * double_cosine + math.sin(second) * double_sine
    bulge = 0.6 * bulge + 0.4 * (math.cos(third) * triple_cosine + math.sin(third) * triple_sine)
    outline = radius * (1 + _LOBULATION * bulge)
    profile: Field = np.clip(0.5 + (outline - distance) / max(_EDGE, canvas.edge), 0, 1).astype(np.float32)
    return profile


def draw_lesions(canvas: Canvas, facts: Facts, rng: np.random.Generator) -> Lesions | None:
    """Draw the lesions that the facts call for; None if this patient's organs have no room for them."""
    profile = np.zeros_like(canvas.image)
    if facts.size is not None:
        radii = rng.uniform(*RADII[facts.size, facts.count], size=facts.count)
        centres = _place(canvas, facts, float(radii.max()), rng)
        if centres is None:
            return None
        for centre, radius in zip(centres, radii, strict=True):
            np.maximum(profile, _outline(canvas, centre, float(radius), rng), out=profile)
    return Lesions(profile=profile, mask=profile >= 0.5)


def blend_lesions(
    image: Field, lesions: Lesions, facts: Facts, contrast: float, rng: np.random.Generator
) -> Field:
    """Return the image with its lesions, each ``contrast`` brighter or darker than the tissue it replaces."""
    if facts.intensity is None:
        return image
    labels, count = ndimage.label(lesions.mask)
    index = np.arange(1, count + 1)
    means = np.concatenate([[0.0], ndimage.mean(image, labels, index)]).astype(np.float32)
    # Outside the mask the soft edge keeps the tissue it lies on.
    local = np.where(lesions.mask, means[labels], image)
    # Most of the replaced tissue's texture is gone inside a lesion; a projection adds up instead.
    replaced = 0.0 if facts.modality == "X-ray" else 0.65
    change = POLARITY[facts.intensity] * contrast * float(rng.uniform(0.9, 1.1)) + replaced * (local - image)
    diseased: Field = image + lesions.profile * change
    return diseased


def draw_lookalikes(canvas: Canvas, contrast: float, rng: np.random.Generator) -> None:
    """Draw bands and thin rings: about as conspicuous as lesions, but of another shape.

    They are drawn alike with and without lesions, so that mere brightness says nothing about presence.
    """
    rows, columns = np.nonzero(canvas.organ > 0.5)
    for _ in range(int(pick(rng, (0, 0, 1, 2)))):
        chosen = int(rng.integers(len(rows)))
        x = canvas.grid.x - canvas.grid.x[0, columns[chosen]]
        y = canvas.grid.y - canvas.grid.y[rows[chosen], 0]
        shape = pick(rng, (_band, _ring))
        amount = contrast * float(rng.uniform(0.5, 0.9)) * int(pick(rng, (-1, 1)))
        canvas.add(shape(canvas, x, y, rng), amount)


def _band(canvas: Canvas, x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Return a thin, slightly curved band such as a vessel, a scar or a catheter."""
    angle = rng.uniform(0, np.pi)
    length, curvature = rng.uniform(0.14, 0.3), rng.uniform(-1.2, 1.2)
    along = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    across = np.float32(np.cos(angle)) * y - np.float32(np.sin(angle)) * x
    across = across - np.float32(curvature) * along * along
    band: Field = canvas.soft(0.02 - np.abs(across)) * canvas.soft(length - np.abs(along))
    return band


def _ring(canvas: Canvas, x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Return a thin ring such as an electrode's or a nipple's shadow."""
    radius = np.float32(rng.uniform(0.085, 0.12))
    return canvas.soft(0.018 - np.abs(np.sqrt(x * x + y * y) - radius))
