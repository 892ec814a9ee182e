"""What is trained on: synthetic images with random words, in the two shapes that preference data comes in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from medpref.pairs.pair import IMAGE_PLACEHOLDER, ImageRole, Pair, ResponseRole
from medpref.scoring.cells import Cell
from medpref.scoring.inputs import InputCache


@dataclass(frozen=True, slots=True)
class Shape:
    """How long texts are, in words (about one token each), and how pairs make up a batch.

    Attributes:
        prompt: words of a prompt, fewest and most.
        response: words of a response, fewest and most.
        images: distinct clean images of a batch.
        pairs_per_image: pairs on each of them.
    """

    prompt: tuple[int, int]
    response: tuple[int, int]
    images: int
    pairs_per_image: int


SHAPES = {
    "captions": Shape((28, 34), (58, 98), images=2, pairs_per_image=1),
    "vqa": Shape((6, 9), (1, 3), images=1, pairs_per_image=8),
}


def word_list() -> list[str]:
    """Return 400 words of two syllables."""
    syllables = [a + b for a in "bdfklmnprstv" for b in "aeiou"]
    generator = np.random.default_rng(0)
    chosen = generator.permutation(len(syllables) ** 2)[:400]
    return [syllables[n // len(syllables)] + syllables[n % len(syllables)] for n in chosen]


def tokenizer_texts() -> list[str]:
    """Return texts in which each word stands often enough to become one token."""
    words, generator = word_list(), np.random.default_rng(1)
    return [" ".join(generator.permutation(words)) for _ in range(20)]


def make_batches(folder: Path, shape: Shape, *, side: int, batches: int, seed: int) -> list[list[Pair]]:
    """Write images to `folder` and return batches of pairs on them; no image stands in two batches.

    Args:
        folder: where the images go.
        shape: of the texts and batches.
        side: of the images, in pixels.
        batches: how many.
        seed: of images and texts.
    """
    generator = np.random.default_rng(seed)
    words = word_list()
    made: list[list[Pair]] = []
    for batch in range(batches):
        pairs: list[Pair] = []
        for image in range(shape.images):
            stem = folder / f"{seed}-{batch}-{image}"
            clean, rejected = (
                _write_image(stem.with_name(f"{stem.name}-{role}.png"), side, generator)
                for role in ("clean", "rejected")
            )
            images: dict[ImageRole, tuple[Path, ...]] = {
                ImageRole.CLEAN: (clean,),
                ImageRole.REJECTED: (rejected,),
            }
            pairs += [
                _make_pair(f"{stem.name}-{number}", images, shape, words, generator)
                for number in range(shape.pairs_per_image)
            ]
        made.append(pairs)
    return made


def _make_pair(
    ident: str,
    images: dict[ImageRole, tuple[Path, ...]],
    shape: Shape,
    words: Sequence[str],
    generator: np.random.Generator,
) -> Pair:
    def text(limits: tuple[int, int]) -> str:
        return " ".join(generator.choice(words, size=generator.integers(limits[0], limits[1] + 1)))

    return Pair(
        id=ident,
        prompt=f"{IMAGE_PLACEHOLDER}\n{text(shape.prompt)}",
        images=images,
        responses={role: text(shape.response) for role in ResponseRole},
        weight=float(generator.uniform(0.75, 1.25)),
    )


def _write_image(path: Path, side: int, generator: np.random.Generator) -> Path:
    """Write a smooth random image."""
    coarse = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(path)
    return path


def describe(batches: Sequence[Sequence[Pair]], inputs: InputCache) -> dict[str, float]:
    """Return mean lengths in tokens: of prompts, images included, and of responses, end included."""
    pairs = [pair for batch in batches for pair in batch]
    ids = [inputs.ids(pair, cell) for pair in pairs for cell in (Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED)]
    return {
        "pairs_per_batch": len(batches[0]),
        "prompt_tokens": sum(len(prompt) for prompt, _ in ids) / len(ids),
        "response_tokens": sum(len(response) for _, response in ids) / len(ids),
    }
