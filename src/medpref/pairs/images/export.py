"""Write what holds several pictures (films, stacks, volumes) to one PNG file for each.

A pair names image files, and a file is one image: everything that follows (hashes, stamps, the report) then
needs no rule for parts of files.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from medpref.errors import InputError
from medpref.files import write_jsonl
from medpref.pairs.images.dicom import dicom_frames
from medpref.pairs.images.limits import readable
from medpref.pairs.images.nifti import nifti_slices
from medpref.pairs.images.opening import DICOM, NIFTI, Kind, kind_of, save_png
from medpref.pairs.images.ordinary import ordinary_frames

LISTING = "images.jsonl"
Numbered: TypeAlias = Iterator[tuple[int, Image.Image]]


class ExportSettings(BaseModel):
    """Which pictures are written.

    Attributes:
        axis: across which volumes are cut.
        every: how many frames or slices lie from one picture to the next.
        window: the centre and width that volumes are shown with, in their own units (Hounsfield units for
            CT); by default from the 0.5th to the 99.5th percentile.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    axis: Literal["axial", "coronal", "sagittal"] = "axial"
    every: int = Field(1, ge=1)
    window: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """A picture that was written: its file, the file it is from, and which frame or slice of it, from 0."""

    image: Path
    source: Path
    number: int


@dataclass(frozen=True, slots=True)
class LeftOutFile:
    """A file that could not be read, and why."""

    source: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Export:
    """What an export wrote, and the files that it could not read."""

    written: tuple[Exported, ...]
    left_out: tuple[LeftOutFile, ...]

    def summary(self) -> str:
        """Return one line that counts both."""
        files = len({picture.source for picture in self.written})
        text = f"{len(self.written)} pictures of {files} files"
        return f"{text}, {len(self.left_out)} files left out" if self.left_out else text


def export_images(
    source: Path,
    folder: Path,
    settings: ExportSettings | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Export:
    """Write every frame and slice of a file, or of all files below a folder, as PNG files.

    The pictures lie in `folder` as the files do below `source`, named after them; ``images.jsonl`` beside
    them tells which is which. Nothing of a file but its pixels and its name is copied.

    Args:
        source: a file or folder; hidden files and DICOMDIR are passed over.
        folder: where the pictures go.
        settings: which pictures.
        advance: called with the number of files done.

    Raises:
        InputError: there is nothing at `source`, or a folder holds no file.
        RunError: the disk is full or the folder cannot be written.
    """
    chosen = settings or ExportSettings()
    root = source if source.is_dir() else source.parent
    written: list[Exported] = []
    left_out: list[LeftOutFile] = []
    for path in _files(source, folder):
        try:
            written += _export_file(path, folder / path.relative_to(root).parent, chosen)
        except InputError as error:
            left_out.append(LeftOutFile(path, error.what))
        advance(1)
    rows = [
        {
            "image": str(picture.image.relative_to(folder)),
            "source": str(picture.source.relative_to(root)),
            "number": picture.number,
        }
        for picture in written
    ]
    write_jsonl(folder / LISTING, rows)
    return Export(tuple(written), tuple(left_out))


def _files(source: Path, folder: Path) -> list[Path]:
    if source.is_file():
        return [source]
    found = sorted(source.rglob("*")) if source.is_dir() else []
    files = [
        path
        for path in found
        # What an earlier export wrote below its own source is no source.
        if path.is_file() and not _is_aside(path.relative_to(source)) and folder not in path.parents
    ]
    if not files:
        raise InputError("there are no files to export", where=str(source))
    return files


def _is_aside(path: Path) -> bool:
    return path.name == "DICOMDIR" or any(part.startswith(".") for part in path.parts)


def _export_file(path: Path, folder: Path, settings: ExportSettings) -> list[Exported]:
    """Write a file's pictures: all or, where one of them cannot be read, none."""
    written: list[Exported] = []
    try:
        with readable(path):
            for number, image in _pictures(path, settings):
                written.append(Exported(_save(folder, path, number, image), path, number))
    except BaseException:
        for picture in written:
            picture.image.unlink(missing_ok=True)
        raise
    return written


def _save(folder: Path, path: Path, number: int, image: Image.Image) -> Path:
    # The whole name: a.dcm and a.png beside each other make two pictures.
    target = folder / f"{path.name}-{number:04d}.png"
    save_png(target, image)
    return target


def _pictures(path: Path, settings: ExportSettings) -> Numbered:
    return PICTURES.get(kind_of(path), _ordinary)(path, settings)


def _ordinary(path: Path, settings: ExportSettings) -> Numbered:
    return _some(ordinary_frames(path), settings)


def _dicom(path: Path, settings: ExportSettings) -> Numbered:
    return _some(dicom_frames(path), settings)


def _nifti(path: Path, settings: ExportSettings) -> Numbered:
    return nifti_slices(path, settings.axis, settings.every, settings.window)


def _some(frames: Iterator[Image.Image], settings: ExportSettings) -> Numbered:
    return ((number, frame) for number, frame in enumerate(frames) if number % settings.every == 0)


PICTURES: dict[Kind, Callable[[Path, ExportSettings], Numbered]] = {DICOM: _dicom, NIFTI: _nifti}
"""What yields a file's pictures by its kind; ordinary files otherwise."""
