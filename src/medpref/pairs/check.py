"""Checks that every pair passes on its way in."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from medpref.pairs.pair import IMAGE_PLACEHOLDER, ImageRole, Pair, ResponseRole

# A radiograph has about 10 million pixels; past this a small file may be a decompression bomb.
MAX_PIXELS = 100_000_000


def faults(pair: Pair, *, verify_images: bool = True) -> Iterator[str]:
    """Yield every reason why a pair cannot be used: none for a sound one.

    Args:
        pair: the pair.
        verify_images: also decode its image files.
    """
    yield from _text_faults(pair)
    yield from _count_faults(pair)
    if verify_images:
        yield from _file_faults(pair)
    if pair.weight is not None and not 0 <= pair.weight < float("inf"):
        yield f"the weight {pair.weight} is no finite number from 0 up"


def _text_faults(pair: Pair) -> Iterator[str]:
    if not pair.prompt.replace(IMAGE_PLACEHOLDER, "").strip():
        yield "the prompt is empty"
    chosen = pair.responses.get(ResponseRole.CHOSEN)
    rejected = pair.responses.get(ResponseRole.REJECTED)
    if chosen is None or not chosen.strip():
        yield "the chosen response is empty"
    if rejected is not None and not rejected.strip():
        yield "the rejected response is empty"
    elif chosen is not None and rejected is not None and chosen.strip() == rejected.strip():
        yield "the chosen and the rejected response are equal"


def _count_faults(pair: Pair) -> Iterator[str]:
    clean = pair.images.get(ImageRole.CLEAN, ())
    rejected = pair.images.get(ImageRole.REJECTED, ())
    placeholders = pair.prompt.count(IMAGE_PLACEHOLDER)
    if placeholders != len(clean):
        # A missing placeholder would drop the image silently; a spare one would have no image to show.
        yield f"{placeholders} {IMAGE_PLACEHOLDER} in the prompt for {len(clean)} images"
    if rejected and len(rejected) != len(clean):
        yield f"{len(rejected)} rejected images for {len(clean)} clean ones"


def _file_faults(pair: Pair) -> Iterator[str]:
    masks = (pair.region,) if pair.region else ()
    for path in (*(path for paths in pair.images.values() for path in paths), *masks):
        fault = image_fault(path)
        if fault:
            yield f"{fault}: {path}"


@lru_cache(maxsize=100_000)
def image_fault(path: Path) -> str | None:
    """Return why an image file cannot be used, or None. Decodes it whole: a cut file has a sound header."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                return f"the image has over {MAX_PIXELS:,} pixels"
            image.load()
    except FileNotFoundError:
        return "the image is missing"
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"the image cannot be read ({type(error).__name__})"
    return None
