"""Where a recipe's regions of interest come from: each source gives a pair its mask file."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medpref.errors import InputError
from medpref.files import UserPath, content_hash, read_jsonl
from medpref.pairs.images import image_size, save_png
from medpref.pairs.pair import ImageRole, Pair
from medpref.pairs.recipes.base import RecipeContext
from medpref.pairs.recipes.images.corruption import ImageSettings, Mask, Pixels
from medpref.pairs.regions import Box, Heat, from_boxes, from_heat, read_heat, scale_heat

Source = Literal["mask", "boxes", "heat-map", "model"]


class Region(BaseModel):
    """Where regions come from.

    Attributes:
        source: written ``from``: ``mask`` is the pair's own mask file; ``boxes`` a file of boxes;
            ``heat-map`` a folder of heat maps; ``model`` the start model's own gradient map.
        file: of ``boxes``: JSONL with one box a line, ``{image, x, y, width, height}`` in pixels or, with
            ``unit: shares``, in shares of the image. `image` is the file's name or the pair's id.
        folder: of ``heat-map``: holds an NPY file or a grey PNG for each image, named like it.
        quantile: of ``heat-map`` and ``model``: what is hotter than this quantile of its map is the region.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Source = Field("mask", alias="from")
    file: UserPath | None = None
    folder: UserPath | None = None
    quantile: float = Field(0.9, ge=0, lt=1)


class RegionSettings(ImageSettings):
    """What all recipes share that look at a region of interest.

    Attributes:
        region: where the regions come from: the pair's own mask file by default.
        empty: what happens where there is none or an empty one: ``box`` corrupts a random box of a quarter of
            the image's sides, so that a corruption alone does not tell that something was found, and the
            provenance says ``control box``; ``leave-out`` leaves the pair out.
        grow: how far a region reaches beyond its edge, as a share of the image's longer side.
    """

    region: Region = Region()
    empty: Literal["box", "leave-out"] = "box"
    grow: float = Field(0.0, ge=0, le=0.25)


def random_box(height: int, width: int, rng: np.random.Generator) -> Mask:
    """Return a mask of a random box with a quarter of the image's sides."""
    box_height, box_width = max(1, height // 4), max(1, width // 4)
    top, left = int(rng.integers(height - box_height + 1)), int(rng.integers(width - box_width + 1))
    mask = np.zeros((height, width), dtype=bool)
    mask[top : top + box_height, left : left + box_width] = True
    return mask


def region_or_box(region: Mask | None, pixels: Pixels, rng: np.random.Generator) -> Mask:
    """Return the region, or a random box where there is none or an empty one."""
    if region is not None and region.any():
        return region
    return random_box(pixels.shape[0], pixels.shape[1], rng)


def place_regions(pairs: Sequence[Pair], region: Region, context: RecipeContext) -> list[Pair]:
    """Return the pairs with the mask files of their regions; masks are written below ``context.folder``.

    A pair that the source knows nothing of has no region then.

    Raises:
        InputError: the source's file or folder is not named or cannot be read, or a region does not fit its
            image.
    """
    return SOURCES[region.source](pairs, region, context)


def _own(pairs: Sequence[Pair], region: Region, context: RecipeContext) -> list[Pair]:
    return list(pairs)


def _boxes(pairs: Sequence[Pair], region: Region, context: RecipeContext) -> list[Pair]:
    boxes = read_boxes(_named(region.file, "file", "boxes"))
    placed = []
    for pair in pairs:
        view = _view(pair)
        own = view and (boxes.get(pair.id) or boxes.get(view.path.name))
        if view and own:
            with_place = _fitting(from_boxes, own, view, pair)
            placed.append(_with_mask(pair, with_place, context.folder))
        else:
            placed.append(replace(pair, region=None))
    return placed


def read_boxes(path: Path) -> Mapping[str, Sequence[Box]]:
    """Read a JSONL file of boxes, by the name of the image or the id of the pair.

    Raises:
        InputError: the file is missing, or a line is no box; the message names it.
    """
    boxes: dict[str, list[Box]] = defaultdict(list)
    for line, row in read_jsonl(path):
        try:
            name = Path(row["image"]).name
            boxes[name].append(Box.model_validate({key: row[key] for key in row if key != "image"}))
        except (KeyError, TypeError, ValidationError) as error:
            raise InputError(
                f"this is no box: {error}",
                where=f"{path}, line {line}",
                remedy="A line is {image, x, y, width, height}, with unit: shares where these are shares.",
            ) from None
    return boxes


def _heat_maps(pairs: Sequence[Pair], region: Region, context: RecipeContext) -> list[Pair]:
    folder = _named(region.folder, "folder", "heat-map")
    placed = []
    for pair in pairs:
        view = _view(pair)
        names = (view.path.with_suffix(suffix).name for suffix in (".npy", ".png")) if view else ()
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if view and path:
            heat = read_heat(path)
            placed.append(_with_mask(pair, _hot(heat, region, view), context.folder))
        else:
            placed.append(replace(pair, region=None))
    return placed


def _look(pairs: Sequence[Pair], region: Region, context: RecipeContext) -> list[Pair]:
    model = context.start_model()
    views = {pair.id: _view(pair) for pair in pairs}
    seen = [pair for pair in pairs if views[pair.id]]
    maps = dict(zip((pair.id for pair in seen), model.look(seen), strict=True))
    return [
        _with_mask(pair, _hot(maps[pair.id], region, view), context.folder)
        if (view := views[pair.id])
        else replace(pair, region=None)
        for pair in pairs
    ]


SOURCES: Mapping[Source, Callable[[Sequence[Pair], Region, RecipeContext], list[Pair]]] = {
    "mask": _own,
    "boxes": _boxes,
    "heat-map": _heat_maps,
    "model": _look,
}


class View(NamedTuple):
    """The only image of a pair: its file, and its height and width in pixels."""

    path: Path
    height: int
    width: int


def _view(pair: Pair) -> View | None:
    """Return the pair's image; None where it has several, of which a region belongs to no certain one."""
    clean = pair.images.get(ImageRole.CLEAN, ())
    if len(clean) != 1:
        return None
    width, height = image_size(clean[0])
    return View(clean[0], height, width)


def _hot(heat: Heat, region: Region, view: View) -> Mask:
    return from_heat(scale_heat(heat, view.height, view.width), region.quantile, view.height, view.width)


def _fitting(draw: Callable[..., Mask], what: Any, view: View, pair: Pair) -> Mask:
    """Draw a region, and name the pair in the error where it does not fit."""
    try:
        return draw(what, view.height, view.width)
    except InputError as error:
        raise InputError(error.what, where=f"pair {pair.id}", remedy=error.remedy) from None


def _with_mask(pair: Pair, mask: Mask, folder: Path) -> Pair:
    """Write a mask, named after its content, so that it is written once and never mistaken for another."""
    image = pair.images[ImageRole.CLEAN][0]
    target = folder / "regions" / f"{image.stem}-{content_hash(mask.tobytes(), mask.shape)}.png"
    if not target.exists():
        save_png(target, Image.fromarray(mask))
    return replace(pair, region=target)


def _named(path: Path | None, key: str, source: Source) -> Path:
    """Return a path that a source needs. Raises `InputError` where the settings do not name it."""
    if path is None:
        raise InputError(f"regions from {source} need the key {key!r}", where="region")
    return path
