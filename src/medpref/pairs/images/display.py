"""From the values that a file holds to the 8 bits that are shown."""

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8

Grey = Float[np.ndarray, "h w"]
DEPTHS = (8, 10, 12, 14, 16)


def scale(values: Num[np.ndarray, "*shape"], low: float, high: float) -> UInt8[np.ndarray, "*shape"]:
    """Map [low, high] to 0–255 and clip what lies outside; an empty range becomes black."""
    if not high > low:
        return np.zeros(values.shape, dtype=np.uint8)
    unit = (values.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    shown: UInt8[np.ndarray, "*shape"] = np.rint(np.nan_to_num(unit).clip(0, 1) * 255).astype(np.uint8)
    return shown


def spread(
    values: Num[np.ndarray, "*shape"], inside: Bool[np.ndarray, "*shape"] | None = None
) -> UInt8[np.ndarray, "*shape"]:
    """Map the least value to black and the largest to white.

    Args:
        values: of any type; what is not finite becomes black.
        inside: which values count for the range; all by default.
    """
    counted = values if inside is None or not inside.any() else values[inside]
    finite = counted[np.isfinite(counted)]
    if finite.size == 0:
        return np.zeros(values.shape, dtype=np.uint8)
    return scale(values, float(finite.min()), float(finite.max()))


def by_depth(values: Num[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Show grey values whose depth the file does not tell.

    Scanners write 10, 12 or 14 bits into files of 16, which shown as 16 bits would be nearly black. So the
    white of an integer image is the largest value of the fewest bits (8, 10, 12, 14 or 16) that hold all its
    values, and its black is 0. Fractions and values below 0 or above 16 bits have no such scale: their range
    is spread.
    """
    if not np.issubdtype(values.dtype, np.integer) or values.min() < 0 or values.max() >= 1 << 16:
        return spread(values)
    bits = next(depth for depth in DEPTHS if values.max() < 1 << depth)
    return look_up(values, bits)


def look_up(values: Num[np.ndarray, "*shape"], bits: int) -> UInt8[np.ndarray, "*shape"]:
    """Map 0 to black and the largest number of `bits` (at most 16) to white, by table: values are many."""
    table = scale(np.arange(1 << bits), 0, (1 << bits) - 1)
    shown: UInt8[np.ndarray, "*shape"] = table[values]
    return shown


def linear(values: Grey, centre: float, width: float) -> Grey:
    """Return the linear window's output from 0 to 1. DICOM PS3.3, C.11.2.1.2.1."""
    shown: Grey = ((values - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5).clip(0, 1)
    return shown


def linear_exact(values: Grey, centre: float, width: float) -> Grey:
    """Return the exact linear window's output from 0 to 1. DICOM PS3.3, C.11.2.1.3.2."""
    shown: Grey = ((values - centre) / width + 0.5).clip(0, 1)
    return shown


def sigmoid(values: Grey, centre: float, width: float) -> Grey:
    """Return the sigmoid window's output from 0 to 1. DICOM PS3.3, C.11.2.1.3.1."""
    shown: Grey = 1 / (1 + np.exp((-4 * (values - centre) / width).clip(-80, 80)))
    return shown


WINDOWS = {"LINEAR": linear, "LINEAR_EXACT": linear_exact, "SIGMOID": sigmoid}
"""The windows by their name in ``VOILUTFunction``; the first is DICOM's default."""
