"""The region that a question names, from the boxes that SLAKE keeps beside each image."""

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from medpref.errors import InputError
from medpref.files import content_hash
from medpref.pairs.images import image_size, save_png
from medpref.pairs.sources.pictures import Pictures

BOXES = "detection.json"
SPARE = 2
"""Pixels that a box may reach over the edge, from rounding."""


class Box(NamedTuple):
    """A named box: its left upper corner, width and height, in pixels."""

    name: str
    left: float
    top: float
    width: float
    height: float


def named_region(question: str, images: Sequence[Path], pictures: Pictures) -> Path | None:
    """Return a mask of what a question names, or None where no box is known by such a name.

    White is the union of the boxes whose name stands in the question, word for word; of ``left lung`` and
    ``lung`` the longer one. The label image ``mask.png`` is not used: nothing beside it tells its values.
    A file with a box outside the image is not used either: it belongs to another size of the image.
    """
    if len(images) != 1 or pictures.folder is None:
        return None
    boxes = read_boxes(images[0].with_name(BOXES))
    named = _named(question, boxes)
    if not named:
        return None
    try:
        size = image_size(images[0])
    except InputError:
        return None
    if not all(_inside(box, size) for box in boxes):
        return None
    path = pictures.folder / "regions" / f"{content_hash(size, named)}.png"
    if not path.is_file():
        save_png(path, Image.fromarray(_mask(named, size)).convert("1"))
    return path


@lru_cache(maxsize=10_000)
def read_boxes(path: Path) -> tuple[Box, ...]:
    """Return the boxes of ``[{name: [left, top, width, height]}, …]``; none for a file of another shape."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return tuple(
            Box(name, *map(float, box)) for entry in content for name, box in entry.items() if len(box) == 4
        )
    except (OSError, ValueError, TypeError, AttributeError):
        return ()


def _named(question: str, boxes: Sequence[Box]) -> list[Box]:
    names = sorted({box.name.strip().lower() for box in boxes}, key=lambda name: (-len(name), name))
    rest, found = question.lower(), set()
    for name in filter(None, names):
        pattern = re.compile(rf"\b{re.escape(name)}s?\b")
        if pattern.search(rest):
            found.add(name)
            rest = pattern.sub(" ", rest)
    return [box for box in boxes if box.name.strip().lower() in found]


def _inside(box: Box, size: tuple[int, int]) -> bool:
    reach = (box.left + box.width, box.top + box.height)
    return (
        min(box.left, box.top) >= -SPARE
        and min(box.width, box.height) > 0
        and all(end <= edge + SPARE for end, edge in zip(reach, size, strict=True))
    )


def _mask(boxes: Sequence[Box], size: tuple[int, int]) -> np.ndarray:
    width, height = size
    mask = np.zeros((height, width), dtype=np.uint8)
    for box in boxes:
        top, left = max(round(box.top), 0), max(round(box.left), 0)
        mask[top : round(box.top + box.height), left : round(box.left + box.width)] = 255
    return mask
