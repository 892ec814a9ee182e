"""The image files of an export: once for each content, and with nothing in them but pixels."""

import hashlib
import io
import os
import shutil
from pathlib import Path

from PIL import Image

from medpref.errors import InputError
from medpref.files import cached_file_hash, disk_errors, write_bytes
from medpref.pairs.images import open_image, open_mask

# What a header may say without telling anything of a person or changing what is shown.
_HARMLESS = {
    *("jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "adobe", "adobe_transform"),
    *("progressive", "progression", "gamma", "srgb", "interlace", "icc_profile"),
}
_HARMLESS_SEGMENTS = {"APP0", "APP2", "APP14"}
_SUFFIXES = {"PNG": ".png", "JPEG": ".jpg"}
_NAME_LENGTH = 20


class PictureFolder:
    """A folder that image files go to, named by their content.

    PNG and JPEG files in grey or RGB without metadata are taken as they are. All others are written as PNG
    with the pixels that medpref shows: DICOM files and photographs carry names, dates and places.

    Args:
        folder: where the files go.
        link: make hard links instead of copies where the file system can; a later change of the one file
            then changes the other.
    """

    def __init__(self, folder: Path, *, link: bool = False) -> None:
        self.folder = folder
        self.link = link
        self._images: dict[str, Path] = {}
        self._masks: dict[str, Path] = {}

    def image(self, path: Path) -> Path:
        """Put an image into the folder, unless its content lies there, and return where.

        Raises:
            InputError: it cannot be read.
            RunError: it cannot be written.
        """
        mark = _mark(path)
        if mark not in self._images:
            suffix = plain_suffix(path)
            if suffix is None:
                self._images[mark] = self._written(_png(open_image(path)))
            else:
                self._images[mark] = self._copied(path, f"{mark[:_NAME_LENGTH]}{suffix}")
        return self._images[mark]

    def mask(self, path: Path) -> Path:
        """Put a mask into the folder as black and white PNG, and return where. Raises as `image` does."""
        mark = _mark(path)
        if mark not in self._masks:
            self._masks[mark] = self._written(_png(Image.fromarray(open_mask(path)).convert("L")))
        return self._masks[mark]

    def _written(self, data: bytes) -> Path:
        target = self.folder / f"{hashlib.sha256(data).hexdigest()[:_NAME_LENGTH]}.png"
        write_bytes(target, data, durable=False)
        return target

    def _copied(self, path: Path, name: str) -> Path:
        target = self.folder / name
        if target.exists():
            return target
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if self.link:
                try:
                    os.link(path.resolve(), target)
                    return target
                except OSError:
                    # Another file system, or one without links.
                    pass
            shutil.copyfile(path, target)
        return target


def plain_suffix(path: Path) -> str | None:
    """Return the suffix of a PNG or JPEG that holds nothing but the pixels that medpref shows, else None."""
    try:
        with Image.open(path, formats=tuple(_SUFFIXES)) as image:
            image.load()
            segments = {name for name, _ in getattr(image, "applist", ())}
            bare = (
                image.mode in ("L", "RGB")
                and not image.getexif()
                and set(image.info) <= _HARMLESS
                and not getattr(image, "text", None)
                and segments <= _HARMLESS_SEGMENTS
                and getattr(image, "n_frames", 1) == 1
            )
            return _SUFFIXES.get(str(image.format)) if bare else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        # Not such a file; what else it is, and whether it is whole, is told where it is opened.
        return None


def _mark(path: Path) -> str:
    try:
        return cached_file_hash(path)
    except OSError:
        raise InputError("there is no such image", where=str(path)) from None


def _png(image: Image.Image) -> bytes:
    bare = image.copy()
    bare.info = {}
    buffer = io.BytesIO()
    bare.save(buffer, "PNG")
    return buffer.getvalue()
