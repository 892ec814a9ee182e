"""Filters that look at images and regions."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from medpref.errors import InputError
from medpref.files import UserPath, read_jsonl
from medpref.pairs.duplicates import BITS, NEAR, Match, PictureIndex
from medpref.pairs.images import image_size, open_mask
from medpref.pairs.pair import ImageRole, Pair
from medpref.pairs.recipes.base import Recipe, RecipeContext
from medpref.pairs.recipes.filters.base import FilterSettings, filter_recipes, leave_out_faulty
from medpref.pairs.sample import read_samples
from medpref.pairs.store import read_pairs

SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".dcm", ".dicom"}


class LeakageSettings(FilterSettings):
    """What must not be trained on.

    Attributes:
        files: the test data: pair files of any shape, a task's samples, or folders of images.
        images: where relative image paths in `files` start; each file's own folder where not given.
        distance: perceptual hashes that differ in at most so many of 255 bits are of one picture; null asks
            for the same bytes only.
    """

    files: tuple[UserPath, ...] = Field(min_length=1)
    images: UserPath | None = None
    distance: int | None = Field(NEAR, ge=0, lt=BITS // 2)

    @field_validator("files", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str | Path) else value


class RegionSettings(FilterSettings):
    """What a region has to be.

    Attributes:
        least, most: the share of the image's pixels that it may cover, above `least` and up to `most`.
        needed: also leave out pairs that name no region.
    """

    least: float = Field(0.0, ge=0, le=1)
    most: float = Field(1.0, ge=0, le=1)
    needed: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "RegionSettings":
        if self.least >= self.most:
            raise ValueError(f"least ({self.least:g}) must be below most ({self.most:g})")
        return self


def leakage(pairs: Sequence[Pair], settings: LeakageSettings, context: RecipeContext) -> list[Pair]:
    """Leave out pairs whose clean image also occurs in test data, as the same file or the same picture.

    Raises:
        InputError: the test data or an image cannot be read, or the test data has no images.
    """
    place = {image: path.name for path in settings.files for image in images_of(path, settings.images)}
    if not place:
        raise InputError("the test data has no images", where=", ".join(map(str, settings.files)))
    # Hashes at a distance below 0 are never the same picture.
    index = PictureIndex(place, -1 if settings.distance is None else settings.distance)
    find = lru_cache(maxsize=None)(index.find)

    def fault(pair: Pair) -> str | None:
        for image in pair.images.get(ImageRole.CLEAN, ()):
            match = find(image)
            if match:
                return f"its image is also in {place[match.path]} ({_how(match)})"
        return None

    return leave_out_faulty(pairs, "test-leakage", fault, context)


def _how(match: Match) -> str:
    if match.distance is None:
        return f"the same file, {match.path.name}"
    return f"the same picture, {match.path.name}, at {match.distance} of {BITS} bits"


def images_of(path: Path, root: Path | None) -> Iterator[Path]:
    """Yield the clean images of test data: a pair file, a task's samples, or a folder of images.

    Raises:
        InputError: there is nothing there, or it cannot be read.
    """
    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    elif _has_samples(path):
        yield from (image for sample in read_samples(path) for image in sample.images)
    else:
        found = read_pairs(path, images=root, fatal=True, verify_images=False)
        yield from (image for pair in found.pairs for image in pair.images.get(ImageRole.CLEAN, ()))


def _has_samples(path: Path) -> bool:
    if path.suffix != ".jsonl":
        return False
    first = next((row for _, row in read_jsonl(path)), None)
    return isinstance(first, dict) and "gold" in first


def region(pairs: Sequence[Pair], settings: RegionSettings, context: RecipeContext) -> list[Pair]:
    """Leave out pairs whose region of interest is empty, covers too little or too much, or fits no image.

    Raises:
        InputError: a mask or an image cannot be read.
    """
    check = _region_check(settings)

    def fault(pair: Pair) -> str | None:
        if pair.region is None:
            return "it names no region of interest" if settings.needed else None
        images = pair.images.get(ImageRole.CLEAN, ())
        return check(pair.region, images[0] if len(images) == 1 else None)

    return leave_out_faulty(pairs, "empty-roi", fault, context)


def _region_check(settings: RegionSettings) -> Callable[[Path, Path | None], str | None]:
    """Return a function that tells what is wrong with a mask, and remembers it: many pairs share one."""

    @cache
    def check(path: Path, image: Path | None) -> str | None:
        mask = open_mask(path)
        if not mask.any():
            return "its region of interest is empty"
        share = float(mask.mean())
        if not settings.least < share <= settings.most:
            size = "large" if share > settings.most else "small"
            return f"its region of interest is too {size} ({100 * share:.1f} % of the image)"
        if image is not None and mask.shape[::-1] != (shown := image_size(image)):
            sizes = "{1} by {0} pixels for {2} by {3}".format(*mask.shape, *shown)
            return f"its region of interest does not fit its image ({sizes})"
        return None

    return check


filter_recipes.add(
    "test-leakage", Recipe("the image does not occur in the test data", LeakageSettings, leakage)
)
filter_recipes.add("empty-roi", Recipe("the region of interest is not empty", RegionSettings, region))
