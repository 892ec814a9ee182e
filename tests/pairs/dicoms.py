"""DICOM files made by hand, with a patient in every tag that may hold one."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

NAME, PATIENT, STUDY = "DOE^JANE", "PAT-4711", "ACC-0815"
SECRETS = (NAME, "DOE", PATIENT, STUDY, "19470305")
DX = "1.2.840.10008.5.1.4.1.1.1.1"
"""The class of digital X-ray images for presentation."""


def make_dicom(
    path: Path,
    pixels: np.ndarray | bytes | Sequence[bytes],
    *,
    syntax: UID = ExplicitVRLittleEndian,
    **tags: Any,
) -> Path:
    """Write a DICOM file and return its path.

    Args:
        path: the file.
        pixels: stored values (h, w), (h, w, samples) or (frames, h, w) with `NumberOfFrames` given; bytes as
            they are; or a compressed stream for each frame.
        syntax: the transfer syntax.
        tags: set on top of, or in place of, what the pixels tell; None leaves a tag out.
    """
    data = FileDataset(
        str(path),
        Dataset(),
        preamble=b"\0" * 128,
        file_meta=FileMetaDataset(),
        is_implicit_VR=syntax.is_implicit_VR,
        is_little_endian=syntax.is_little_endian,
    )
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = tags.get("SOPClassUID") or DX
    data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.PatientName, data.PatientID, data.PatientBirthDate = NAME, PATIENT, "19470305"
    data.AccessionNumber, data.StudyDescription = STUDY, f"thorax of {NAME}"
    data.SOPClassUID = DX
    if isinstance(pixels, np.ndarray):
        _describe(data, pixels, frames=tags.get("NumberOfFrames", 1))
        data.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    elif isinstance(pixels, bytes):
        data.PixelData = pixels
    elif pixels:
        data.PixelData = encapsulate(list(pixels))
        data["PixelData"].VR = "OB"
    for name, value in tags.items():
        if value is not None:
            setattr(data, name, value)
        elif name in data:
            delattr(data, name)
    if "PixelData" in data:
        data["PixelData"].VR = "OB" if syntax.is_encapsulated or data.BitsAllocated == 8 else "OW"
    data.save_as(path, enforce_file_format=True)
    return path


def _describe(data: Dataset, pixels: np.ndarray, frames: int) -> None:
    shape = pixels.shape[1:] if frames > 1 else pixels.shape
    bits = pixels.dtype.itemsize * 8
    data.Rows, data.Columns = shape[:2]
    data.SamplesPerPixel = shape[2] if len(shape) == 3 else 1
    data.PhotometricInterpretation = "RGB" if len(shape) == 3 else "MONOCHROME2"
    if len(shape) == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")


def compressed(pixels: np.ndarray, form: str, **options: Any) -> bytes:
    """Return a JPEG or JPEG 2000 stream."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def described(pixels: np.ndarray, **tags: Any) -> dict[str, Any]:
    """Return the tags that a compressed frame needs."""
    data = Dataset()
    _describe(data, pixels, frames=1)
    return {element.keyword: element.value for element in data} | tags


def table(first: int, entries: Sequence[int], bits: int = 16) -> Items:
    """Return a lookup table's sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", list(entries))
    return Items([item])


def groups(**tags: Any) -> Items:
    """Return one functional group whose items hold a tag each."""
    outer = Dataset()
    value, window = Dataset(), Dataset()
    for name, number in tags.items():
        setattr(window if name.startswith("Window") else value, name, number)
    outer.PixelValueTransformationSequence = Items([value])
    outer.FrameVOILUTSequence = Items([window])
    return Items([outer])
