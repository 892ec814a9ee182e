"""DICOM files, shown as a viewer would show them first; needs pydicom.

Only the tags below are ever read: none of them names a patient, and nothing but pixels leaves this module.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image

from medpref.errors import InputError
from medpref.pairs.images import grey
from medpref.pairs.images.display import by_depth, look_up
from medpref.pairs.images.limits import EXPORT, check_size, require

if TYPE_CHECKING:
    from pydicom import Dataset

COLOUR_TABLES = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
TAGS = [
    *("SOPClassUID", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction"),
    *("WindowCenter", "WindowWidth", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *(f"{table}{part}" for table in COLOUR_TABLES for part in ("Descriptor", "Data")),
    *(f"Segmented{table}Data" for table in COLOUR_TABLES),
    *("BurnedInAnnotation", "ConversionType"),
]
DEFLATED = "1.2.840.10008.1.2.1.99"
PACKAGES = {
    "JPEG 2000": "pylibjpeg pylibjpeg-openjpeg",
    "JPEG-LS": "pyjpegls",
    "JPEG": "pylibjpeg pylibjpeg-libjpeg",
}
"""What decodes a transfer syntax, by what its name holds; the first that fits."""


def open_dicom(path: Path) -> Image.Image:
    """Decode a file that holds one image; warn once where its pixels may hold a patient's name.

    Raises:
        InputError: it holds no image or several, is too large, cut short, or compressed in a way that
            nothing installed can decode.
    """
    with _quiet(), path.open("rb") as file:
        header = read_header(file, path)
        _check_single(header, path)
        _check_whole(header, path)
        shown = show_frame(file, header, path, 0)
    _warn_of_names(header, path)
    return shown


def dicom_size(path: Path) -> tuple[int, int]:
    """Return the width and height in pixels from the header. Raises `InputError` as far as it tells."""
    with _quiet(), path.open("rb") as file:
        header = read_header(file, path)
        _check_single(header, path)
        return int(header.Columns), int(header.Rows)


def dicom_frames(path: Path) -> Iterator[Image.Image]:
    """Yield every frame of a file. Warns and raises `InputError` as `open_dicom` does."""
    with path.open("rb") as file:
        with _quiet():
            header = read_header(file, path)
            _check_whole(header, path)
        _warn_of_names(header, path)
        for number in range(count_frames(header)):
            with _quiet():
                frame = show_frame(file, header, path, number)
            yield frame


def read_header(file: BinaryIO, path: Path) -> "Dataset":
    """Return what `TAGS` say.

    Raises:
        InputError: it is no image, or one that cannot be decoded.
    """
    pydicom = require("pydicom", "dicom", path)
    try:
        syntax = pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID
    except (pydicom.errors.InvalidDicomError, AttributeError):
        raise InputError(
            "the file is no DICOM file: its mark or its transfer syntax is missing", where=str(path)
        ) from None
    _check_syntax(syntax, path)
    file.seek(0)
    header: Dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=TAGS)
    if not header.get("Rows") or not header.get("Columns"):
        kind = _class_name(header) or "of no known class"
        raise InputError(f"the DICOM file holds no image ({kind})", where=str(path))
    check_size(int(header.Columns), int(header.Rows), path)
    return header


def _class_name(header: "Dataset") -> str:
    uid = header.get("SOPClassUID")
    return str(uid.name) if uid else ""


def count_frames(header: "Dataset") -> int:
    """Return how many frames a file holds."""
    return int(header.get("NumberOfFrames") or 1)


def _check_single(header: "Dataset", path: Path) -> None:
    frames = count_frames(header)
    if frames > 1:
        raise InputError(
            f"the file holds {frames} frames where a pair shows one image", where=str(path), remedy=EXPORT
        )


def _check_syntax(syntax: Any, path: Path) -> None:
    if syntax == DEFLATED:
        # It would be inflated as a whole before anything is known of its size.
        raise InputError(
            "the DICOM file is deflated as a whole, which is not read",
            where=str(path),
            remedy="Convert it to Explicit VR Little Endian, for instance with DCMTK's dcmconv.",
        )
    try:
        decoder = require("pydicom.pixels", "dicom", path).get_decoder(syntax)
    except NotImplementedError:
        raise InputError(f"no decoder is known for {syntax.name}", where=str(path)) from None
    if not decoder.is_available:
        package = next((found for name, found in PACKAGES.items() if name in syntax.name), "python-gdcm")
        raise InputError(
            f"no decoder is installed for {syntax.name} (pip install {package})", where=str(path)
        )


def _check_whole(header: "Dataset", path: Path) -> None:
    """Check that uncompressed pixels fit into the file: a header may promise any number of them."""
    from pydicom.pixels.utils import get_expected_length

    if header.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    wanted, found = get_expected_length(header), path.stat().st_size
    if wanted > found:
        raise InputError(
            f"the file is cut short: its header tells of {wanted:,} bytes of pixels, it has {found:,} in all",
            where=str(path),
        )


def _warn_of_names(header: "Dataset", path: Path) -> None:
    burned_in = str(header.get("BurnedInAnnotation", "")).upper()
    captured = "ConversionType" in header or "Secondary Capture" in _class_name(header)
    if burned_in == "YES":
        _warn_once(path, "the file says that text is burned into its pixels, which may name the patient")
    elif captured and burned_in != "NO":
        _warn_once(path, "a secondary capture that does not say whether a name is burned into its pixels")


@lru_cache(maxsize=100_000)
def _warn_once(path: Path, text: str) -> None:
    warnings.warn(f"{path}: {text}", stacklevel=2)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's own warnings back: they quote values, and these may be a patient's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def show_frame(file: BinaryIO, header: "Dataset", path: Path, number: int) -> Image.Image:
    """Decode one frame, counted from 0, and show it as its kind of colour asks for.

    Raises:
        InputError: the kind of colour is not known.
    """
    kind = str(header.get("PhotometricInterpretation", "")).strip()
    if kind not in COLOURS:
        raise InputError(f"the photometric interpretation {kind!r} is not known", where=str(path))
    pixels = require("pydicom.pixels", "dicom", path).pixel_array(file, index=number)
    return Image.fromarray(COLOURS[kind](pixels, header, number, path))


def _colour(pixels: np.ndarray, header: "Dataset", number: int, path: Path) -> np.ndarray:
    """Return RGB bytes; the decoder has already turned YBR into RGB and planes into pixels."""
    return look_up(pixels, int(header.BitsStored)) if pixels.dtype != np.uint8 else pixels


def _palette(pixels: np.ndarray, header: "Dataset", number: int, path: Path) -> np.ndarray:
    """Return RGB bytes of palette indices. Tables of 16 bits may hold values of 8."""
    colours: np.ndarray = require("pydicom.pixels", "dicom", path).apply_color_lut(pixels, header)
    return colours if colours.dtype == np.uint8 else by_depth(colours)


COLOURS: dict[str, Callable[[np.ndarray, "Dataset", int, Path], np.ndarray]] = {
    "MONOCHROME1": grey.inverted,
    "MONOCHROME2": grey.plain,
    "PALETTE COLOR": _palette,
    **dict.fromkeys(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"), _colour),
}
"""What makes bytes of a frame, by its ``PhotometricInterpretation``."""
