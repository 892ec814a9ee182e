"""Open image files: the one place where pixels come from a disk."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from medpref.errors import InputError
from medpref.files import write_bytes

# A radiograph has about 10 million pixels; past this a small file may be a decompression bomb.
MAX_PIXELS = 100_000_000
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


def image_fault(path: Path) -> str | None:
    """Return why an image file cannot be used, or None. Decodes it whole: a cut file has a sound header."""
    try:
        open_image(path)
    except InputError as error:
        return error.what
    return None


def open_image(path: Path) -> Image.Image:
    """Open and decode an image file: grey images as ``L``, all others as ``RGB``, 8 bits a channel.

    Images of 16 bits are scaled to 8; Pillow's own conversion clips them, which turns radiographs white.

    Raises:
        InputError: the file is missing, too large, or no image.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(f"the image has over {MAX_PIXELS:,} pixels", where=str(path))
            image.load()
            if image.mode.startswith("I"):
                deep = np.asarray(image, dtype=np.float64)
                return Image.fromarray(np.rint(np.clip(deep / 257, 0, 255)).astype(np.uint8))
            return image.convert("L" if image.mode in ("1", "L") else "RGB")
    except FileNotFoundError:
        raise InputError("the image is missing", where=str(path)) from None
    except UNREADABLE as error:
        raise InputError(f"the image cannot be read ({type(error).__name__})", where=str(path)) from None


def open_mask(path: Path) -> Bool[np.ndarray, "h w"]:
    """Open a mask file: True wherever a pixel is not black.

    Raises:
        InputError: the file is missing, too large, or no image.
    """
    mask: Bool[np.ndarray, "h w"] = np.asarray(open_image(path).convert("L")) > 0
    return mask


def save_png(path: Path, image: Image.Image) -> None:
    """Write a PNG, whole or not at all. Raises `RunError` as `write_bytes` does."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    write_bytes(path, buffer.getvalue(), durable=False)
