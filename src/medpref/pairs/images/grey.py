"""DICOM's grey pipeline: stored values, rescaled, windowed, perhaps inverted. DICOM PS3.3, C.11.1–C.11.2."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Num, UInt8

from medpref.errors import InputError
from medpref.pairs.images.display import WINDOWS, scale, spread

if TYPE_CHECKING:
    from pydicom import Dataset

Stored = Num[np.ndarray, "h w"]
Shown = UInt8[np.ndarray, "h w"]


def plain(stored: Stored, header: "Dataset", number: int, path: Path) -> Shown:
    """Return bytes of stored values whose least is black (MONOCHROME2).

    The first VOI table or else the first window is applied. Without either, images of at most 8 bits that
    nothing rescales are shown as they are, and the range of others is spread, padding left aside.

    Args:
        stored: the values.
        header: the file's tags.
        number: the frame, from 0: each may have its own window.
        path: for messages.

    Raises:
        InputError: the window's function is not known.
    """
    values = _rescale(stored, header, number)
    tables = header.get("VOILUTSequence")
    if tables:
        looked_up, bits = _apply_table(values, tables[0], header)
        return scale(looked_up, 0, (1 << bits) - 1)
    centre, width = (_number(header, number, name) for name in ("WindowCenter", "WindowWidth"))
    function = str(_find(header, number, "VOILUTFunction") or "LINEAR").strip().upper()
    if function not in WINDOWS:
        raise InputError(f"the window's function {function!r} is not known", where=str(path))
    if centre is not None and width is not None and width >= (1 if function == "LINEAR" else 1e-6):
        return scale(WINDOWS[function](values, centre, width), 0, 1)
    bits, signed = int(header.get("BitsStored", 16)), header.get("PixelRepresentation")
    if bits <= 8 and not signed and values is stored:
        return scale(values, 0, (1 << bits) - 1)
    return spread(values, _inside(stored, header))


def inverted(stored: Stored, header: "Dataset", number: int, path: Path) -> Shown:
    """Return bytes of stored values whose least is white (MONOCHROME1). Raises as `plain` does."""
    shown: Shown = 255 - plain(stored, header, number, path)
    return shown


def _rescale(stored: Stored, header: "Dataset", number: int) -> Stored:
    """Apply the modality table or the rescale; values that neither changes come back as they are."""
    tables = header.get("ModalityLUTSequence")
    if tables:
        return _apply_table(stored, tables[0], header)[0]
    slope, intercept = (_number(header, number, name) for name in ("RescaleSlope", "RescaleIntercept"))
    if slope in (None, 0, 1) and not intercept:
        return stored
    values: Stored = stored.astype(np.float32) * (slope or 1) + (intercept or 0)
    return values


def _apply_table(values: Stored, item: "Dataset", header: "Dataset") -> tuple[Stored, int]:
    """Look values up in a table of ``LUTDescriptor`` and ``LUTData``; return them with their bits.

    Values outside take the first or last entry. DICOM PS3.3, C.11.1.1 and C.11.2.1.1.
    """
    count, first, bits = (int(part) for part in item.LUTDescriptor)
    data: Any = item.LUTData
    if isinstance(data, bytes):
        little = header.original_encoding[1] is not False
        wide = len(data) >= 2 * (count or 1 << 16)
        data = np.frombuffer(data, dtype=("<u2" if little else ">u2") if wide else np.uint8)
    table = np.asarray(data)
    places = np.rint(values.astype(np.float32) - first).clip(0, len(table) - 1).astype(np.int64)
    return table[places], min(bits or 16, 16)


def _inside(stored: Stored, header: "Dataset") -> Bool[np.ndarray, "h w"] | None:
    """Return where an image is, as against the padding around it: None where it has none."""
    padding = header.get("PixelPaddingValue")
    if padding is None:
        return None
    limit = header.get("PixelPaddingRangeLimit", padding)
    low, high = sorted((int(padding), int(limit)))
    inside: Bool[np.ndarray, "h w"] = (stored < low) | (stored > high)
    return inside


def _number(header: "Dataset", frame: int, name: str) -> float | None:
    """Return the first finite value of a tag, or None."""
    found = _find(header, frame, name)
    first = found[0] if hasattr(found, "__getitem__") else found
    try:
        value = float(first)
    except (TypeError, ValueError):
        return None
    return value if np.isfinite(value) else None


def _find(header: "Dataset", frame: int, name: str) -> Any:
    """Return a tag's value, from the frame's own group, the groups of all frames, or the file."""
    for place in (*_groups(header, frame), header):
        value = place.get(name)
        if value is not None and value != "" and (not hasattr(value, "__len__") or len(value)):
            return value
    return None


def _groups(header: "Dataset", frame: int) -> "Iterator[Dataset]":
    """Yield the data sets inside an enhanced file's functional groups, the frame's before the common ones."""
    own = (header.get("PerFrameFunctionalGroupsSequence") or [])[frame : frame + 1]
    common = (header.get("SharedFunctionalGroupsSequence") or [])[:1]
    for group in (*own, *common):
        for element in group:
            if element.VR == "SQ":
                yield from element.value[:1]
