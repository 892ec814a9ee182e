"""Phantoms in the shape of a published data set, read back by that data set's own source.

A study of published data can so be rehearsed as it is, with no file at hand.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from medpref.pairs.formats import CAPTION_PROMPT, REPORT_PROMPT
from medpref.pairs.pair import Pair, Provenance
from medpref.pairs.sources.base import Advance, DataSet, Source, SourceSettings, sources
from medpref.pairs.sources.reading import VISUAL_KINDS
from medpref.pairs.sources.replica_files import SHAPES
from medpref.phantoms import DEFAULT_CONTRAST, Phantom, all_facts, generate, report, vocabulary

# Streams of phantoms that no split of the source of plain phantoms draws from.
STREAMS = {"train": 51, "pool": 52, "validation": 53, "test": 54}


class ReplicaSettings(SourceSettings):
    """What is drawn.

    Attributes:
        of: the data set whose files are imitated.
        train, pool, validation, test: images of each split; there is a pool only for conversations.
        prior: strength of the prevalence prior in train and pool, in [0, 1]; validation and test have none.
        size: edge length in pixels.
        contrast: of a lesion to its surroundings, as a share of the full range.
        seed: of everything; two replicas of one seed show the same images.
    """

    of: Literal["vqa-rad", "slake", "path-vqa", "amboss", "mimic-cxr", "llava-med", "pubmedvision"]
    train: int = Field(32, ge=1)
    pool: int = Field(32, ge=2)
    validation: int = Field(8, ge=1)
    test: int = Field(32, ge=1)
    prior: float = Field(0.8, ge=0, le=1)
    size: int = Field(64, ge=32)
    contrast: float = Field(DEFAULT_CONTRAST, gt=0, le=1)
    seed: int = Field(0, ge=0)


def load(settings: ReplicaSettings, folder: Path, fatal: bool, advance: Advance) -> DataSet:
    """Draw the phantoms, write the files below `folder`, and read them."""
    drawn = {split: list(_phantoms(settings, split, advance)) for split in STREAMS}
    shape = SHAPES[settings.of]
    source = sources[shape.source]
    said = source.settings.model_validate(shape.write(drawn, folder / "files"))
    data = source.load(said, folder, fatal, lambda _: None)
    facts = {
        **data.facts,
        "source": f"procedural phantoms in the shape of {settings.of}",
        "licence": "generated, no patient data",
    }
    return replace(
        data,
        train=[_own(pair, settings) for pair in data.train],
        pool=[_own(pair, settings) for pair in data.pool],
        facts=facts,
    )


def _phantoms(settings: ReplicaSettings, split: str, advance: Advance) -> Iterator[Phantom]:
    prior = settings.prior if split in ("train", "pool") else 0.0
    for index in range(getattr(settings, split)):
        stream = settings.seed * 100 + STREAMS[split]
        yield generate(stream, index, size=settings.size, prior=prior, contrast=settings.contrast)
        advance(1)


def _own(pair: Pair, settings: ReplicaSettings) -> Pair:
    """Return a copy that does not claim to come from the published data."""
    return replace(pair, provenance=Provenance("phantoms", None, settings.seed, "generated"))


def texts(settings: ReplicaSettings) -> list[str]:
    """Return all that a replica can say."""
    reports = sorted({report(facts) for facts in all_facts()})
    return [*vocabulary(), *reports, CAPTION_PROMPT, REPORT_PROMPT]


sources.add(
    "replica",
    Source(
        summary="procedural phantoms written like a published data set, and read as that is",
        settings=ReplicaSettings,
        tasks=tuple(dict.fromkeys(shape.task for shape in SHAPES.values())),
        load=load,
        texts=texts,
        work=lambda settings: sum(getattr(settings, split) for split in STREAMS),
        visual_kinds=VISUAL_KINDS,
    ),
)
