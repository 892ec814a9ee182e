"""What a data source is, and the folder that it writes."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from medpref.files import read_json, write_json, write_jsonl
from medpref.pairs.pair import ImageRole, Pair
from medpref.pairs.sample import Sample, read_samples, write_samples
from medpref.pairs.store import PairFile, read_pairs, write_pairs
from medpref.registry import Registry

Advance = Callable[[int], None]


class SourceSettings(BaseModel):
    """The settings of a source; unknown keys fail."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class DataSet:
    """What a source gives.

    Attributes:
        train: supervised pairs for the SFT model.
        pool: pairs that preference methods train on; a rejected side may still be missing.
        samples: what is asked, by (split, task); those of the train split are what baselines know.
        facts: what the report says of the data: source, licence, leakage, notes.
        quarantined: what was not used, as file rows with a line and a reason.
    """

    train: Sequence[Pair]
    pool: Sequence[Pair]
    samples: Mapping[tuple[str, str], Sequence[Sample]]
    facts: dict[str, Any]
    quarantined: Sequence[PairFile] = field(default=())

    def write(self, folder: Path) -> None:
        """Write everything below `folder`."""
        write_pairs(folder / "train.jsonl", self.train)
        write_pairs(folder / "pool.jsonl", self.pool)
        for (split, task), samples in self.samples.items():
            write_samples(folder / f"{split}.{task}.jsonl", samples)
        rows = [
            {"file": file.path.name, "line": row.line, "id": row.id, "reason": row.reason, "row": row.row}
            for file in self.quarantined
            for row in file.quarantined
        ]
        write_jsonl(folder / "quarantine.jsonl", rows)
        reasons = Counter(
            f"{file.path.name}: {row.reason.split(':')[0]}"
            for file in self.quarantined
            for row in file.quarantined
        )
        write_json(
            folder / "data.json",
            {**self.facts, "counts": self.counts(), "leakage": self.leakage(), "quarantined": dict(reasons)},
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """Count pairs or questions, and distinct images, of each split."""
        splits: dict[str, tuple[int, set[Any]]] = {
            "train": (len(self.train), clean_images(self.train)),
            "pool": (len(self.pool), clean_images(self.pool)),
        }
        for (split, task), samples in self.samples.items():
            if split == "train":
                continue
            splits[f"{split}/{task}"] = (
                len(samples),
                {image for sample in samples for image in sample.images},
            )
        return {name: {"rows": rows, "images": len(images)} for name, (rows, images) in splits.items()}

    def leakage(self) -> dict[str, int]:
        """Count the test images, and how many of them also occur in what is trained on."""
        test = {
            image
            for (split, _), s in self.samples.items()
            if split == "test"
            for x in s
            for image in x.images
        }
        return {
            "test_images": len(test),
            "also_in_train": len(test & clean_images([*self.train, *self.pool])),
        }


def clean_images(pairs: Iterable[Pair]) -> set[Path]:
    """Return the distinct clean images of pairs."""
    return {image for pair in pairs for image in pair.images.get(ImageRole.CLEAN, ())}


def read_split(folder: Path, split: str, task: str) -> list[Sample]:
    """Read the samples of one split and task from a folder that `DataSet.write` wrote."""
    return read_samples(folder / f"{split}.{task}.jsonl")


def read_data_pairs(folder: Path, name: str) -> tuple[Pair, ...]:
    """Read ``train`` or ``pool`` from a folder that `DataSet.write` wrote."""
    return read_pairs(folder / f"{name}.jsonl", fatal=True, verify_images=False).pairs


def read_data_set(folder: Path) -> dict[str, Any]:
    """Return the facts that `DataSet.write` wrote."""
    facts: dict[str, Any] = read_json(folder / "data.json")
    return facts


@dataclass(frozen=True, slots=True)
class Source:
    """Where data comes from.

    Attributes:
        summary: one line for listings.
        settings: the source's settings.
        tasks: the tasks whose samples it gives.
        load: ``load(settings, folder, fatal, advance)`` returns the data; what it draws goes below `folder`.
        texts: ``texts(settings)`` returns the training texts that a tokenizer may learn from.
        digest: ``digest(settings)`` changes when the files behind the settings change.
        work: ``work(settings)`` is how often `advance` will be called, for progress.
        visual_kinds: the question kinds whose answer has to be read off the image, where the source knows.
        redraw: ``redraw(settings, seed)`` returns the settings of the same test with train, pool and
            validation drawn anew; None where the data is what it is.
    """

    summary: str
    settings: type[BaseModel]
    tasks: tuple[str, ...]
    load: Callable[[Any, Path, bool, Advance], DataSet]
    texts: Callable[[Any], Iterable[str]]
    digest: Callable[[Any], Any] = lambda _: None
    work: Callable[[Any], int | None] = lambda _: None
    visual_kinds: tuple[str, ...] = ()
    redraw: Callable[[Any, int], Any] | None = None


sources: Registry[Source] = Registry("data source")
