"""What every published data set is asked for, and what its files are turned into."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from medpref.errors import InputError
from medpref.files import UserPath
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.sample import Sample
from medpref.pairs.sources.base import SourceSettings
from medpref.pairs.sources.pictures import Pictures
from medpref.pairs.sources.records import Record, read_records


class ReadSettings(SourceSettings):
    """What every source of a published data set can be told.

    Attributes:
        split: ``official`` as published; ``image-disjoint`` draws anew so that no picture, by its bytes, and
            no patient is in two splits.
        validation_share, test_share: parts of the pictures that ``image-disjoint`` asks, in [0, 1].
        seed: of everything drawn here.
        verify: ``all`` decodes every image; ``header`` reads its first bytes only, and misses files cut
            short.
        max_rows: the most rows of each split, the first of each file; for trying things out.
        pairs: a file of preference pairs on these images, in any shape that the source ``files`` reads; they
            are the pool in place of the training rows.
    """

    split: Literal["official", "image-disjoint"] = "official"
    validation_share: float = Field(0.1, ge=0, lt=1)
    test_share: float = Field(0.2, ge=0, lt=1)
    seed: int = Field(0, ge=0)
    verify: Literal["all", "header"] = "all"
    max_rows: int | None = Field(None, ge=1)
    pairs: UserPath | None = None

    @model_validator(mode="after")
    def _leave_a_share_for_train(self) -> "ReadSettings":
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave nothing to train on")
        return self


class FolderSettings(ReadSettings):
    """Where a data set's folder is, and what every source can be told.

    Attributes:
        folder: as downloaded and unpacked.
        images: the folder that image paths start from; the usual places below `folder` where not given.
    """

    folder: UserPath
    images: UserPath | None = None


class LeftOutError(Exception):
    """A sound row that the settings do not ask for; the message tells why, and rows are counted by it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One question as a pair, with what only a sample tells.

    Attributes:
        pair: the question, its images and the right answer.
        split: ``train``, ``validation`` or ``test``.
        kinds: question kinds, the most certain first.
        closed: whether the question has a closed set of answers.
        choices: that set, where it is known.
        cluster: the image or patient that intervals are clustered by.
        patient: whom the images show, where that is known: an ``image-disjoint`` split does not part them.
        attributes: what else results are cut by, such as organ and modality.
    """

    pair: Pair
    split: str
    kinds: tuple[str, ...] = ()
    closed: bool = False
    choices: tuple[str, ...] = ()
    cluster: str = ""
    patient: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    def sample(self) -> Sample:
        """Return the row as a question to be asked."""
        return Sample(
            id=self.pair.id,
            prompt=self.pair.prompt,
            images=self.pair.images.get(ImageRole.CLEAN, ()),
            gold=self.pair.responses[ResponseRole.CHOSEN],
            kinds=self.kinds,
            closed=self.closed,
            choices=self.choices,
            cluster=self.cluster,
            region=self.pair.region,
            history=self.pair.history,
            attributes=dict(self.attributes),
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """A record to be turned into rows.

    Attributes:
        record: the record.
        split: what its file is, or None where the row itself has to tell.
        settings: the source's.
        pictures: finds the images.
    """

    record: Record
    split: str | None
    settings: Any
    pictures: Pictures

    @property
    def values(self) -> Any:
        """The record's values by key."""
        return self.record.values


Parse = Callable[[Entry], Iterable[Row]]
"""Turns a record into rows. Raises `RowError` for a fault, `LeftOutError` for what the settings exclude."""


class Part(NamedTuple):
    """One file of a data set.

    Attributes:
        path: the file.
        split: what it is, or None where its rows tell.
        parse: reads its records.
        key: the array to read where a JSON file holds several.
        records: reads the file where it is no plain table; a file read so is not counted beforehand.
    """

    path: Path
    split: str | None
    parse: Parse
    key: str | None = None
    records: Callable[[Path], Iterator[Record]] | None = None

    def read(self) -> Iterator[Record]:
        """Yield the records. Raises `InputError` as `read_records` does."""
        return self.records(self.path) if self.records else read_records(self.path, key=self.key)


def require_folder(name: str, folder: Path) -> None:
    """Check that a data set's folder is there.

    Raises:
        InputError: it is not.
    """
    if not folder.is_dir():
        raise InputError(
            f"the {name} folder is not there",
            where=str(folder),
            remedy="Name it with --set data.folder=PATH, or in the study.",
        )
