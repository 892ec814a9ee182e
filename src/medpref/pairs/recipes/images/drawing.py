"""Draw the rejected images of pairs: each once, before any scoring, and stored as a PNG file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from medpref.errors import InputError
from medpref.files import cached_file_hash, content_hash
from medpref.pairs.images import image_size, open_image, save_png
from medpref.pairs.pair import ImageRole, Pair
from medpref.pairs.recipes.base import Recipe, RecipeContext, generator, note_recipe
from medpref.pairs.recipes.images.corruption import (
    Corrupt,
    Corruption,
    ImageSettings,
    Mask,
    UnusableImageError,
    corruptions,
    image_recipes,
)
from medpref.pairs.recipes.images.region_sources import RegionSettings, place_regions
from medpref.pairs.recipes.images.workers import work_through
from medpref.pairs.regions import grown, read_mask


@dataclass(frozen=True, slots=True)
class Drawing:
    """One file to be drawn.

    Attributes:
        recipe: whose corruption is drawn.
        source: the clean image.
        region: the mask file of its region of interest, where one is known.
        target: the file.
        settings: of the recipe.
        seed: of the recipe.
        drawn_for: the pair's id where each pair has a drawing of its own; empty otherwise.
        pair: a pair that shows it, for messages.
    """

    recipe: str
    source: Path
    region: Path | None
    target: Path
    settings: ImageSettings
    seed: int
    drawn_for: str
    pair: str


class Drawn(NamedTuple):
    """What came of a drawing.

    Attributes:
        reason: why there is no file, or None.
        control: whether a random box stands for a region that is missing or empty.
    """

    reason: str | None = None
    control: bool = False


def draw(drawing: Drawing) -> Drawn:
    """Write a drawing's file, unless it is there already: files are whole or not there.

    Raises:
        InputError: the image or the region cannot be read, or they differ in size.
        RunError: the disk is full or the folder cannot be written.
    """
    corruption = corruptions[drawing.recipe]
    region = _region(drawing) if corruption.regional else None
    control = corruption.regional and region is None
    if control and isinstance(drawing.settings, RegionSettings) and drawing.settings.empty == "leave-out":
        return Drawn("no region of interest is known, or it is empty")
    if not drawing.target.exists():
        pixels = np.asarray(open_image(drawing.source))
        # Drawn by the file's name, not its place: a moved data set draws the same corruptions.
        rng = generator(drawing.seed, drawing.recipe, drawing.source.name, drawing.drawn_for)
        try:
            made = corruption.corrupt(pixels, region, drawing.settings, rng)
        except UnusableImageError as error:
            return Drawn(str(error))
        if np.array_equal(made, pixels):
            return Drawn("the corruption changes nothing on this image")
        save_png(drawing.target, Image.fromarray(made))
    return Drawn(control=control)


def _region(drawing: Drawing) -> Mask | None:
    """Return a drawing's region, or None where there is none or an empty one."""
    if drawing.region is None:
        return None
    width, height = image_size(drawing.source)
    try:
        mask = read_mask(drawing.region, height, width)
    except InputError as error:
        raise InputError(error.what, where=f"pair {drawing.pair}", remedy=error.remedy) from None
    if not mask.any():
        return None
    grow = drawing.settings.grow if isinstance(drawing.settings, RegionSettings) else 0
    return grown(mask, grow * max(width, height))


def corruption_recipe(
    name: str, summary: str, settings: type[ImageSettings], corrupt: Corrupt, *, regional: bool = False
) -> None:
    """Register a corruption of single images as a recipe on pairs.

    Args:
        name: of the recipe.
        summary: one line for listings.
        settings: of the recipe; those of a regional one tell where regions come from.
        corrupt: makes new pixels of an image's.
        regional: whether `corrupt` needs a region of interest.
    """
    corruptions[name] = Corruption(corrupt, regional)

    def make(pairs: Sequence[Pair], chosen: ImageSettings, context: RecipeContext) -> list[Pair]:
        return draw_pairs(pairs, name, chosen, context)

    image_recipes.add(name, Recipe(summary, settings, make, asks=asks_model))


def asks_model(settings: ImageSettings) -> bool:
    """Tell whether the regions come from the model."""
    return isinstance(settings, RegionSettings) and settings.region.source == "model"


def draw_pairs(
    pairs: Sequence[Pair], name: str, settings: ImageSettings, context: RecipeContext
) -> list[Pair]:
    """Give pairs their rejected images; what was drawn for another pair on the image is used again.

    Pairs with an image that the corruption can make nothing of are left out with the reason.

    Raises:
        InputError: a pair has no image, or a region does not fit its image.
    """
    for pair in pairs:
        require_image(pair, name)
    note = name
    if isinstance(settings, RegionSettings) and settings.region.source != "mask":
        pairs = place_regions(pairs, settings.region, context)
        note = f"{name} (region: {settings.region.source})"
    asked = {pair.id: _drawings(pair, name, settings, context) for pair in pairs}
    drawn = _draw_all(asked, context)
    made = []
    for pair in pairs:
        outcomes = [drawn[drawing.target] for drawing in asked[pair.id]]
        reason = next((outcome.reason for outcome in outcomes if outcome.reason), None)
        if reason:
            context.leave_out(pair, name, reason)
            continue
        control = " (control box)" if any(outcome.control for outcome in outcomes) else ""
        changed = pair.with_images(ImageRole.REJECTED, tuple(drawing.target for drawing in asked[pair.id]))
        made.append(note_recipe(changed, note + control, context.seed))
    return made


def _draw_all(asked: Mapping[str, Sequence[Drawing]], context: RecipeContext) -> dict[Path, Drawn]:
    """Draw each distinct file once, and return what came of it; a pair is done with its last file."""
    distinct = {drawing.target: drawing for drawings in asked.values() for drawing in drawings}
    ends = Counter(drawings[-1].target for drawings in asked.values())
    # What is there needs no process of its own.
    there = [drawing for drawing in distinct.values() if drawing.target.exists()]
    wanted = [drawing for drawing in distinct.values() if not drawing.target.exists()]
    outcomes = chain(map(draw, there), work_through(draw, wanted, context.workers))
    drawn = {}
    for drawing, outcome in zip(chain(there, wanted), outcomes, strict=True):
        drawn[drawing.target] = outcome
        context.advance(ends[drawing.target])
    return drawn


def require_image(pair: Pair, name: str) -> tuple[Path, ...]:
    """Return a pair's clean images. Raises `InputError` where it has none."""
    clean = pair.images.get(ImageRole.CLEAN, ())
    if not clean:
        raise InputError(f"the recipe {name} needs an image", where=f"pair {pair.id}")
    return clean


def bytes_mark(path: Path | None) -> str:
    """Return what tells a file's bytes from others; a missing file is told of when it is opened."""
    try:
        return cached_file_hash(path) if path else ""
    except OSError:
        return "missing"


def _drawings(pair: Pair, name: str, settings: ImageSettings, context: RecipeContext) -> list[Drawing]:
    region = pair.region if corruptions[name].regional else None
    drawn_for = pair.id if settings.per == "pair" else ""
    said = settings.model_dump(mode="json")
    drawings = []
    for path in pair.images[ImageRole.CLEAN]:
        # Named by content, not by place: the same data in another folder gives the same names.
        mark = content_hash(path.name, bytes_mark(path), bytes_mark(region), drawn_for, context.seed, said)
        target = context.folder / "images" / f"{path.stem}-{name}-{mark}.png"
        drawings.append(Drawing(name, path, region, target, settings, context.seed, drawn_for, pair.id))
    return drawings
