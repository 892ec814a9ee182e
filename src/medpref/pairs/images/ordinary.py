"""Ordinary image files: PNG, JPEG, TIFF, GIF and what else Pillow reads."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from medpref.errors import InputError
from medpref.pairs.images.display import by_depth
from medpref.pairs.images.limits import EXPORT, check_size

# Named, since Pillow would hand PostScript and others to programs outside.
FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM", "JPEG2000")
# A phone's JPEG may carry further pictures behind the first: small previews, not frames.
PREVIEWS = ("MPO",)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image upright, by its EXIF orientation."""
SIDEWAYS = (5, 6, 7, 8)


def open_ordinary(path: Path) -> Image.Image:
    """Decode a file that holds one image, turned upright.

    Raises:
        InputError: it is too large or holds several frames.
    """
    with _one_frame(path) as image:
        return show(_upright(image))


def ordinary_size(path: Path) -> tuple[int, int]:
    """Return the width and height of what `open_ordinary` returns, from the header. Raises as it does."""
    with _one_frame(path) as image:
        width, height = image.size
        return (height, width) if _orientation(image) in SIDEWAYS else (width, height)


def ordinary_values(path: Path) -> np.ndarray:
    """Return what a file holds, (h, w) or (h, w, channels), grey values as deep as they are."""
    with _one_frame(path) as image:
        upright = _upright(image)
        return np.asarray(upright if is_deep(upright) else show(upright))


def ordinary_frames(path: Path) -> Iterator[Image.Image]:
    """Yield every frame of a file, decoded. Raises `InputError` for one that is too large."""
    with Image.open(path, formats=FORMATS) as image:
        count = 1 if image.format in PREVIEWS else getattr(image, "n_frames", 1)
        for number in range(count):
            image.seek(number)
            check_size(*image.size, path)
            yield show(_upright(image))


def _one_frame(path: Path) -> Image.Image:
    image = Image.open(path, formats=FORMATS)
    try:
        check_size(*image.size, path)
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format not in PREVIEWS:
            raise InputError(
                f"the file holds {frames} frames where a pair shows one image", where=str(path), remedy=EXPORT
            )
    except BaseException:
        image.close()
        raise
    return image


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation as far as the header tells it."""
    if image.format == "TIFF":
        # Pillow turns these itself, and tells their upright size.
        return 1
    # Not the PNG's own method, which decodes the whole image to look behind it.
    orientation: int = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    return orientation


def _upright(image: Image.Image) -> Image.Image:
    turn = TURNS.get(_orientation(image))
    image.load()
    return image if turn is None else image.transpose(turn)


def is_deep(image: Image.Image) -> bool:
    """Tell whether an image has grey values of more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I")


def show(image: Image.Image) -> Image.Image:
    """Return an image as grey (``L``) or ``RGB`` with 8 bits a channel, and without its metadata.

    What is transparent becomes black, as what surrounds a scan is; the models' own code drops transparency,
    which in most files leaves black too.
    """
    if is_deep(image):
        return Image.fromarray(by_depth(np.asarray(image)))
    shown = image.convert("L" if image.mode in ("1", "L") and not image.has_transparency_data else "RGB")
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        if layers.getchannel("A").getextrema() != (255, 255):
            black = Image.new("RGBA", layers.size, (0, 0, 0, 255))
            shown = Image.alpha_composite(black, layers).convert("RGB")
    shown.info = {}
    return shown
