"""Pixel grids and smooth random fields.

Lengths are in fractions of half the field of view: the image spans [-1, 1] along both axes, x to the
right and y downwards, whatever its size in pixels.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True)
class Grid:
    """The pixel centres of a square image."""

    size: int
    """Pixels along one edge."""
    x: Float32[np.ndarray, "h w"]
    y: Float32[np.ndarray, "h w"]

    @property
    def pixel(self) -> float:
        """Width of one pixel."""
        return 2.0 / self.size


@lru_cache(maxsize=8)
def pixel_grid(size: int) -> Grid:
    """Return the (cached) grid of a ``size`` x ``size`` pixel image."""
    centres = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1).astype(np.float32)
    y, x = np.meshgrid(centres, centres, indexing="ij")
    for axis in (x, y):
        axis.setflags(write=False)
    return Grid(size=size, x=x, y=y)


@lru_cache(maxsize=64)
def _spline_basis(size: int, cells: int) -> Float32[np.ndarray, "size knots"]:
    """Uniform cubic B-spline basis of ``cells`` intervals at the pixel centres, shape (size, cells + 3)."""
    position = (np.arange(size) + 0.5) / size * cells
    distance = np.abs(position[:, None] - (np.arange(cells + 3)[None, :] - 1))
    near = 2 / 3 - distance**2 * (1 - distance / 2)
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    basis = np.where(distance < 1, near, far)
    # Unit expected variance along each axis makes fields of unit variance.
    basis /= np.sqrt((basis**2).sum(axis=1).mean())
    return basis.astype(np.float32)


def smooth_field(rng: np.random.Generator, size: int, cells: int) -> Float32[np.ndarray, "h w"]:
    """Draw a smooth random field of about unit variance whose blobs are one ``cells``-th of the view wide.

    The knots drawn do not depend on ``size``: a patient looks the same at every resolution.
    """
    basis = _spline_basis(size, cells)
    knots = rng.standard_normal((cells + 3, cells + 3), dtype=np.float32)
    field: Float32[np.ndarray, "h w"] = basis @ knots @ basis.T
    return field
