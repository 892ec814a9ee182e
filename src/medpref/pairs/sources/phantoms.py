"""Procedural phantoms: train and pool follow the prevalence prior, validation and test are balanced."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field

from medpref.pairs.images import save_png
from medpref.pairs.pair import IMAGE_PLACEHOLDER, ImageRole, Pair, Provenance, ResponseRole
from medpref.pairs.recipes.images.counterfactual import CounterfactualSettings
from medpref.pairs.sample import Sample
from medpref.pairs.sources.base import Advance, DataSet, Source, SourceSettings, sources
from medpref.phantoms import (
    DEFAULT_CONTRAST,
    VISUAL_KINDS,
    Phantom,
    generate,
    generate_counterfactuals,
    vocabulary,
)

# Streams of phantoms that never meet: each split draws from a seed of its own.
STREAMS = {"train": 1, "pool": 2, "validation": 3, "test": 4}


class PhantomSettings(SourceSettings):
    """How many phantoms, of what kind.

    Attributes:
        train, pool, validation, test: images of each split.
        prior: strength of the prevalence prior in train and pool, in [0, 1]; validation and test have none.
        size: edge length in pixels.
        contrast: of a lesion to its surroundings, as a share of the full range.
        seed: of the images and questions.
        training_seed: of those of train, pool and validation, where it is another; the test stays the same.
        counterfactuals: also write, beside each image of the pool, images of the same patient with one fact
            changed, such as ``pool-00012-side-left.png``.
    """

    train: int = Field(3000, ge=1)
    pool: int = Field(1600, ge=1)
    validation: int = Field(200, ge=1)
    test: int = Field(400, ge=1)
    prior: float = Field(0.8, ge=0, le=1)
    size: int = Field(64, ge=32)
    contrast: float = Field(DEFAULT_CONTRAST, gt=0, le=1)
    seed: int = Field(0, ge=0)
    training_seed: int | None = Field(None, ge=0)
    counterfactuals: bool = False


def phantom(settings: PhantomSettings, split: str, index: int) -> Phantom:
    """Return phantom number `index` of a split."""
    return generate(*_number(settings, split, index), **_drawn(settings, split))


def _number(settings: PhantomSettings, split: str, index: int) -> tuple[int, int]:
    return _seed(settings, split) * 100 + STREAMS[split], index


def _seed(settings: PhantomSettings, split: str) -> int:
    own = settings.seed if split == "test" else settings.training_seed
    return settings.seed if own is None else own


def redraw(settings: PhantomSettings, seed: int) -> PhantomSettings:
    """Return the settings of the same test with other phantoms in train, pool and validation."""
    return settings.model_copy(update={"training_seed": settings.seed + seed})


def _drawn(settings: PhantomSettings, split: str) -> dict[str, Any]:
    prior = settings.prior if split in ("train", "pool") else 0.0
    return {"size": settings.size, "prior": prior, "contrast": settings.contrast}


def load(settings: PhantomSettings, folder: Path, fatal: bool, advance: Advance) -> DataSet:
    """Generate all splits; images and lesion masks are written as PNG below `folder`."""
    pairs: dict[str, list[Pair]] = {"train": [], "pool": []}
    samples: dict[tuple[str, str], list[Sample]] = {}
    for split in STREAMS:
        for index in range(getattr(settings, split)):
            made = phantom(settings, split, index)
            name = f"{split}-{index:05d}"
            image, mask = write_images(made, folder / "images" / split, name)
            if split == "pool" and settings.counterfactuals:
                write_counterfactuals(settings, split, index, image)
            if split in pairs:
                pairs[split] += phantom_pairs(made, name, image, mask, _seed(settings, split))
            if split != "pool":
                for sample in phantom_samples(made, name, image, mask):
                    task = "phantom-caption" if sample.kinds == ("caption",) else "phantom-vqa"
                    samples.setdefault((split, task), []).append(sample)
            advance(1)
    facts = {
        "source": "procedural phantoms",
        "licence": "generated, no patient data",
        "notes": [
            f"In train and pool, side, vertical place, count and size follow a site's usual value with "
            f"probability {settings.prior:g}; validation and test are balanced."
        ],
    }
    return DataSet(pairs["train"], pairs["pool"], samples, facts)


def write_images(made: Phantom, folder: Path, name: str) -> tuple[Path, Path | None]:
    """Write a phantom's image and, where there is a lesion, its mask and the twin without it."""
    image, mask = folder / f"{name}.png", folder / f"{name}-mask.png"
    save_png(image, Image.fromarray(made.image))
    if not made.mask.any():
        return image, None
    save_png(folder / f"{name}-twin.png", Image.fromarray(made.twin))
    save_png(mask, Image.fromarray(made.mask.astype(np.uint8) * 255).convert("1"))
    return image, mask


def write_counterfactuals(settings: PhantomSettings, split: str, index: int, image: Path) -> None:
    """Write the phantom with one fact changed, where the recipe `counterfactual` looks for it."""
    named = CounterfactualSettings()
    made = generate_counterfactuals(*_number(settings, split, index), **_drawn(settings, split))
    for (kind, answer), pixels in made.items():
        save_png(named.path(image, kind, answer), Image.fromarray(pixels))


def phantom_pairs(made: Phantom, name: str, image: Path, mask: Path | None, seed: int) -> list[Pair]:
    """Return one supervised pair for each question, and one for the caption."""
    return [
        Pair(
            id=f"{name}-{question.kind}",
            prompt=f"{IMAGE_PLACEHOLDER}\n{question.prompt}",
            images={ImageRole.CLEAN: (image,)},
            responses={ResponseRole.CHOSEN: question.answer},
            kind=question.kind,
            region=mask,
            provenance=Provenance("phantoms", None, seed, "generated"),
        )
        for question in (*made.questions, made.caption)
    ]


def phantom_samples(made: Phantom, name: str, image: Path, mask: Path | None) -> list[Sample]:
    """Return one sample for each question, and one for the caption."""
    return [
        Sample(
            id=f"{name}-{question.kind}",
            prompt=f"{IMAGE_PLACEHOLDER}\n{question.prompt}",
            images=(image,),
            gold=question.answer,
            kinds=(question.kind,),
            closed=question.closed,
            choices=question.choices if question.kind != "caption" else (),
            cluster=name,
            region=mask,
            attributes={"organ": made.facts.site, "modality": made.facts.modality},
        )
        for question in (*made.questions, made.caption)
    ]


sources.add(
    "phantoms",
    Source(
        summary="procedural brain, chest and abdomen phantoms with exact ground truth",
        settings=PhantomSettings,
        tasks=("phantom-vqa", "phantom-caption"),
        load=load,
        texts=lambda _: vocabulary(),
        work=lambda settings: sum(getattr(settings, split) for split in STREAMS),
        visual_kinds=VISUAL_KINDS,
        redraw=redraw,
    ),
)
