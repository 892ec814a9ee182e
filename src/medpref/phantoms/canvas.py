"""A canvas in body coordinates: soft-edged shapes, painted as tissues.

Body coordinates follow the patient, not the image: u to the patient's left (image right), or to the back
in the planes seen from the side, and v downwards, with the field of view spanning about [-1, 1].
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float32

from medpref.phantoms.grid import Grid, smooth_field

Field = Float32[np.ndarray, "h w"]
"""One float32 value per pixel; masks lie in [0, 1]."""

_MAX_ROTATION = np.deg2rad(5.0)
_MAX_SHIFT = 0.045
_MAX_SCALING = 0.05
_WARP = 0.016
"""Standard deviation of the smooth displacement that makes each patient's outlines their own."""
_SHARPEST_EDGE = 0.02
_JITTER = 0.07
"""Relative spread of the organs' radii from patient to patient."""


class Canvas:
    """A picture in the making: the body coordinates of its pixels and what has been painted so far."""

    def __init__(self, grid: Grid, palette: Mapping[str, float], rng: np.random.Generator) -> None:
        """Position one patient in the field of view; ``palette`` maps tissues to grey values in [0, 1]."""
        self.grid = grid
        self.rng = rng
        self.palette = palette
        self.image: Field = np.zeros((grid.size, grid.size), dtype=np.float32)
        self.organ: Field = np.zeros_like(self.image)
        """Where a lesion may lie."""
        # A ramp of little more than a pixel is an anti-aliased edge.
        self.edge = max(1.3 * grid.pixel, _SHARPEST_EDGE)
        self.u, self.v = self._body_coordinates()

    def _body_coordinates(self) -> tuple[Field, Field]:
        angle, shift_x, shift_y, scaling = self.rng.uniform(-1, 1, 4)
        angle *= _MAX_ROTATION
        x = self.grid.x - np.float32(shift_x * _MAX_SHIFT)
        y = self.grid.y - np.float32(shift_y * _MAX_SHIFT)
        scale = 1 + scaling * _MAX_SCALING
        cosine, sine = np.float32(np.cos(angle) / scale), np.float32(np.sin(angle) / scale)
        warp = np.float32(_WARP)
        u = cosine * x + sine * y + warp * self.noise(3)
        v = cosine * y - sine * x + warp * self.noise(3)
        return u, v

    def noise(self, cells: int) -> Field:
        """Draw a smooth field of unit variance with blobs one ``cells``-th of the view wide."""
        return smooth_field(self.rng, self.grid.size, cells)

    def vary(self, spread: float = _JITTER) -> float:
        """Draw a factor near one, for this patient's anatomy."""
        return 1 + float(self.rng.uniform(-spread, spread))

    def soft(self, distance: Field, edge: float | None = None) -> Field:
        """Turn a signed distance (positive inside) into a mask with a soft edge."""
        mask: Field = np.clip(0.5 + distance * (1 / (edge or self.edge)), 0, 1)
        return mask

    def ellipse_distance(
        self, centre: tuple[float, float], radii: tuple[float, float], angle: float = 0.0
    ) -> Field:
        """Return the approximate signed distance to an ellipse's outline, positive inside.

        ``angle`` (radians) turns it clockwise on the image.
        """
        du, dv = self.u - centre[0], self.v - centre[1]
        if angle:
            cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            du, dv = cosine * du + sine * dv, cosine * dv - sine * du
        du, dv = du * (1 / radii[0]), dv * (1 / radii[1])
        distance: Field = (1 - np.sqrt(du * du + dv * dv)) * min(radii)
        return distance

    def ellipse(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        angle: float = 0.0,
        edge: float | None = None,
    ) -> Field:
        """Return the mask of an ellipse."""
        return self.soft(self.ellipse_distance(centre, radii, angle), edge)

    def blob(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        angle: float = 0.0,
        edge: float | None = None,
    ) -> Field:
        """Return the mask of an ellipse whose place and radii vary between patients."""
        offset = self.rng.uniform(-0.012, 0.012, 2)
        moved = (centre[0] + float(offset[0]), centre[1] + float(offset[1]))
        varied = (radii[0] * self.vary(), radii[1] * self.vary())
        return self.ellipse(moved, varied, angle, edge)

    def pair(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        angle: float = 0.0,
        edge: float | None = None,
    ) -> Field:
        """Return the mask of an ellipse and its mirror image across the midline u = 0."""
        right = self.blob((-centre[0], centre[1]), radii, -angle, edge)
        both: Field = np.maximum(self.blob(centre, radii, angle, edge), right)
        return both

    def stroke(
        self,
        points: Sequence[tuple[float, float]],
        width: float,
        mirrored: bool = False,
        edge: float | None = None,
    ) -> Field:
        """Return the mask of a polyline with round ends, ``width`` wide, doubled across u = 0 if mirrored."""
        u = np.abs(self.u) if mirrored else self.u
        nearest = np.full_like(self.u, np.inf)
        for (u0, v0), (u1, v1) in pairwise(points):
            along_u, along_v = u1 - u0, v1 - v0
            du, dv = u - u0, self.v - v0
            along = np.clip((du * along_u + dv * along_v) * (1 / (along_u**2 + along_v**2)), 0, 1)
            du -= along * along_u
            dv -= along * along_v
            np.minimum(nearest, du * du + dv * dv, out=nearest)
        return self.soft(width / 2 - np.sqrt(nearest), edge)

    def stripes(self, phase: Field, spacing: float, width: float, edge: float | None = None) -> Field:
        """Return the mask of parallel stripes ``width`` wide, one for every ``spacing`` of ``phase``."""
        offset = phase * (1 / spacing)
        offset = np.abs(offset - np.rint(offset)) * spacing
        return self.soft(width / 2 - offset, edge)

    def creases(self, cells: int, width: float) -> tuple[Field, Field]:
        """Draw winding lines, the zero set of a smooth field; return their mask and distance from them."""
        field = self.noise(cells)
        slope_v, slope_u = np.gradient(field, self.grid.pixel)
        # The floor keeps flat spots of the field from becoming blots.
        distance = np.abs(field) / np.maximum(np.sqrt(slope_u**2 + slope_v**2), 0.35 * cells)
        return self.soft(width / 2 - distance), distance

    def paint(self, mask: Field, tissue: str, opacity: float = 1.0) -> None:
        """Lay a tissue over what is there."""
        self.image += (opacity * mask) * (self.palette[tissue] - self.image)

    def add(self, mask: Field, amount: float) -> None:
        """Add attenuation, as superposed structures do in a projection."""
        self.image += np.float32(amount) * mask

    def allow(self, mask: Field) -> None:
        """Let lesions lie in a mask."""
        np.maximum(self.organ, mask, out=self.organ)

    def forbid(self, mask: Field) -> None:
        """Keep lesions out of a mask."""
        np.minimum(self.organ, 1 - mask, out=self.organ)
