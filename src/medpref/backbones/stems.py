"""What prompts have in common up to their last image, so that it is read once."""

from collections.abc import Sequence
from typing import NamedTuple

from medpref.backbones.base import ImageTensors


class Stem(NamedTuple):
    """The beginning of a prompt up to its last image token, and the images in it."""

    ids: tuple[int, ...]
    images: tuple[ImageTensors, ...]


class Stems(NamedTuple):
    """The distinct stems of a batch.

    Attributes:
        stems: all of one length.
        rows: the number of each row's stem.
    """

    stems: tuple[Stem, ...]
    rows: tuple[int, ...]


def stem_length(prompt: Sequence[int], image_token: int) -> int:
    """Return how many tokens a prompt has up to its last image token, 0 without an image."""
    return next((place + 1 for place in reversed(range(len(prompt))) if prompt[place] == image_token), 0)


def find_stems(
    prompts: Sequence[Sequence[int]], images: Sequence[Sequence[ImageTensors]], image_token: int
) -> Stems | None:
    """Return the stems of a batch, or None where reading them once would gain nothing.

    That is where no two rows share one, where they differ in length, or where nothing follows an image.

    Args:
        prompts: the rows' ids.
        images: the rows' images; those of one file are the same object.
        image_token: the id of an image's tokens.
    """
    lengths = {stem_length(prompt, image_token) for prompt in prompts}
    if len(lengths) > 1 or 0 in lengths or lengths & {len(prompt) for prompt in prompts}:
        return None
    (length,) = lengths
    numbers: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    stems: list[Stem] = []
    rows = []
    for prompt, shown in zip(prompts, images, strict=True):
        ids = tuple(prompt[:length])
        key = ids, tuple(map(id, shown))
        if key not in numbers:
            numbers[key] = len(stems)
            stems.append(Stem(ids, tuple(shown)))
        rows.append(numbers[key])
    return Stems(tuple(stems), tuple(rows)) if len(stems) < len(prompts) else None
