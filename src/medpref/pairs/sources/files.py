"""A user's own pair files: any shape that `medpref.pairs.formats` reads."""

from pathlib import Path
from typing import Literal

from medpref.errors import InputError
from medpref.files import UserPath, file_hash
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.sample import Sample
from medpref.pairs.sources.base import Advance, DataSet, Source, SourceSettings, sources
from medpref.pairs.store import PairFile, read_pairs


class FileSettings(SourceSettings):
    """Where the files are.

    Attributes:
        train: pairs for the SFT model; only their chosen side is read. Without it a model can only be asked.
        pool: pairs for the preference methods; the train file where not given.
        validation, test: questions with the right answer as the chosen response.
        images: the folder that relative image paths start from; each file's own folder where not given.
        task: what the questions are asked as; ``report`` for captions and reports.
        licence: told in the report.
    """

    train: UserPath | None = None
    pool: UserPath | None = None
    validation: UserPath | None = None
    test: UserPath | None = None
    images: UserPath | None = None
    task: Literal["vqa", "report"] = "vqa"
    licence: str = "not stated"


def load(settings: FileSettings, folder: Path, fatal: bool, advance: Advance) -> DataSet:
    """Read all files."""
    read = {
        name: read_pairs(path, images=settings.images, fatal=fatal)
        for name in ("train", "pool", "validation", "test")
        if (path := getattr(settings, name))
    }
    if not read:
        raise InputError("no file is named", remedy="Name train, or test where a model is only asked.")
    train = read.get("train")
    asked = ("train", "validation", "test")
    task: str = settings.task
    samples = {(name, task): as_samples(read[name]) for name in asked if name in read}
    first = next(iter(read.values()))
    facts = {"source": first.path.name, "licence": settings.licence, "notes": []}
    pool = read.get("pool", train)
    return DataSet(
        train.pairs if train else (), pool.pairs if pool else (), samples, facts, tuple(read.values())
    )


def as_samples(file: PairFile) -> list[Sample]:
    """Turn pairs into questions; one whose answer is yes or no is closed."""
    return [_sample(pair) for pair in file.pairs]


def _sample(pair: Pair) -> Sample:
    gold = pair.responses[ResponseRole.CHOSEN]
    return Sample(
        id=pair.id,
        prompt=pair.prompt,
        images=pair.images.get(ImageRole.CLEAN, ()),
        gold=gold,
        kinds=(pair.kind,) if pair.kind else (),
        closed=gold.strip().rstrip(".").lower() in ("yes", "no"),
        cluster=pair.image_key or pair.id,
        region=pair.region,
        history=pair.history,
    )


def texts(settings: FileSettings) -> list[str]:
    """Return the prompts, responses and earlier turns of the training files."""
    paths = [path for path in (settings.train, settings.pool) if path]
    pairs = [pair for path in paths for pair in read_pairs(path, images=settings.images).pairs]
    earlier = [text for pair in pairs for turn in pair.history for text in turn]
    return [text for pair in pairs for text in (pair.prompt, *pair.responses.values())] + earlier


def digest(settings: FileSettings) -> list[str | None]:
    """Return the hashes of the files."""
    paths = [settings.train, settings.pool, settings.validation, settings.test]
    return [file_hash(path) if path and path.is_file() else None for path in paths]


sources.add(
    "files",
    Source(
        summary="your own pair files: medpref's, TRL's or LLaVA-style JSON, JSONL or Parquet",
        settings=FileSettings,
        tasks=("vqa", "report"),
        load=load,
        texts=texts,
        digest=digest,
    ),
)
