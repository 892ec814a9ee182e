"""A sheet of pairs to look at: clean and rejected image, their difference, and the region's outline."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion

from medpref.errors import InputError
from medpref.pairs.images import open_image, open_mask, save_png
from medpref.pairs.pair import IMAGE_PLACEHOLDER, ImageRole, Pair, ResponseRole

Colours = UInt8[np.ndarray, "h w 3"]

TILE = 240
GAP = 6
CAPTION = 16
OUTLINE = (255, 196, 0)
COLUMNS = ("clean", "rejected", "difference", "region")


def contact_sheet(pairs: Sequence[Pair], path: Path) -> None:
    """Write a PNG with one row for each pair: clean, rejected, their difference, and the region's outline.

    Only the first image of each pair is shown, fitted into a square of `TILE` pixels. The difference is
    absolute and doubled, black where nothing changed; a rejected image of another size is scaled to the
    clean one's first.

    Raises:
        InputError: there are no pairs, a pair lacks an image of either role, or a file cannot be read.
        RunError: the file cannot be written.
    """
    if not pairs:
        raise InputError("there are no pairs to draw")
    width = GAP + len(COLUMNS) * (TILE + GAP)
    row = CAPTION + TILE + GAP
    sheet = Image.new("RGB", (width, CAPTION + len(pairs) * row), "white")
    pen = ImageDraw.Draw(sheet)
    for column, name in enumerate(COLUMNS):
        pen.text((GAP + column * (TILE + GAP), 2), name, fill="black")
    for number, pair in enumerate(pairs):
        top = CAPTION + number * row
        pen.text((GAP, top + 2), _caption(pair)[: width // 6], fill="black")
        for column, tile in enumerate(_tiles(pair)):
            spare = (TILE - tile.width) // 2, (TILE - tile.height) // 2
            sheet.paste(tile, (GAP + column * (TILE + GAP) + spare[0], top + CAPTION + spare[1]))
    save_png(path, sheet)


def _caption(pair: Pair) -> str:
    question = " ".join(pair.prompt.replace(IMAGE_PLACEHOLDER, " ").split())
    chosen = pair.responses.get(ResponseRole.CHOSEN, "")
    text = f"{pair.provenance.recipe or 'as given'} | {question} | {chosen}"
    # Pillow's own font has no other letters.
    return text.encode("latin-1", "replace").decode("latin-1")


def _tiles(pair: Pair) -> list[Image.Image]:
    clean, rejected = (_first(pair, role) for role in (ImageRole.CLEAN, ImageRole.REJECTED))
    scaled = rejected.resize(clean.size, Image.Resampling.BICUBIC)
    before, after = (np.asarray(image, dtype=np.int16) for image in (clean, scaled))
    difference = Image.fromarray(np.clip(2 * np.abs(after - before), 0, 255).astype(np.uint8))
    return [_fit(image) for image in (clean, rejected, difference)] + [_outlined(clean, pair.region)]


def _first(pair: Pair, role: ImageRole) -> Image.Image:
    paths = pair.images.get(role, ())
    if not paths:
        raise InputError(f"the pair has no {role} image", where=f"pair {pair.id}")
    return open_image(paths[0]).convert("RGB")


def _fit(image: Image.Image) -> Image.Image:
    scale = TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC if scale < 1 else Image.Resampling.NEAREST)


def _outlined(clean: Image.Image, region: Path | None) -> Image.Image:
    """Return the clean image with the region's outline, drawn at the tile's size so that it shows."""
    tile = _fit(clean)
    if region is None:
        return tile
    mask = np.asarray(Image.fromarray(open_mask(region)).resize(tile.size, Image.Resampling.NEAREST))
    pixels: Colours = np.array(tile)
    pixels[mask & ~binary_erosion(mask, iterations=2)] = OUTLINE
    return Image.fromarray(pixels)
