"""How a published data set is read: its files, splits, pool and what is told of it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medpref.errors import InputError
from medpref.files import content_hash
from medpref.pairs.pair import IMAGE_PLACEHOLDER, ImageRole, Pair
from medpref.pairs.sample import Sample
from medpref.pairs.sources.base import Advance, DataSet, Source, clean_images, sources
from medpref.pairs.sources.changes import file_state, listing
from medpref.pairs.sources.pictures import Pictures
from medpref.pairs.sources.reader import Reader
from medpref.pairs.sources.records import count_records
from medpref.pairs.sources.rows import Part, ReadSettings, Row
from medpref.pairs.sources.splits import SPLITS, disjoint_splits, shared_contents

VISUAL_KINDS = ("abnormality", "presence", "position", "size", "colour", "count", "attribute")
"""The question kinds whose answer has to be read off the image, by the names of `medpref.pairs.kinds`."""


def _no_parts(settings: Any) -> Sequence[Part]:
    return ()


@dataclass(frozen=True, slots=True)
class Reading:
    """How a data set is read.

    Attributes:
        name: of the data set, for people.
        licence: told in the report and kept with every pair, where the settings give none.
        parts: ``parts(settings)`` returns its files. Raises `InputError` where there are none.
        roots: ``roots(settings)`` returns the folders that image paths start from.
        pool: ``pool(settings)`` returns the files of preference pairs; none for the training rows.
        notes: ``notes(settings)`` returns what the report has to say of the data.
        task_of: the task that a row is asked under; `tasks` lists all that there are.
        tasks: the tasks of its rows.
        listed: ``listed(settings)`` returns the folders that are listed to see a change; the roots for None,
            without those that the rows' files lie in.
        depth: how many levels of these folders are listed; all for None.
    """

    name: str
    licence: str
    parts: Callable[[Any], Sequence[Part]]
    roots: Callable[[Any], Sequence[Path]]
    pool: Callable[[Any], Sequence[Part]] = _no_parts
    notes: Callable[[Any], Sequence[str]] = lambda _: ()
    tasks: tuple[str, ...] = ("vqa",)
    task_of: Callable[[Row], str] | None = None
    listed: Callable[[Any], Sequence[Path]] | None = None
    depth: int | None = None

    def licence_of(self, settings: Any) -> str:
        """Return the licence that the settings give, or else the data set's own."""
        return getattr(settings, "licence", None) or self.licence

    def load(self, settings: Any, folder: Path, fatal: bool, advance: Advance) -> DataSet:
        """Read everything; embedded images are written below `folder`.

        Raises:
            InputError: the files are missing or broken as a whole, no training row is sound, or `fatal` and a
                row has a fault.
        """
        pictures = Pictures(self.roots(settings), folder / "images")
        reader = Reader(settings, pictures, fatal, advance, settings.verify)
        rows = self._split(reader.read(self.parts(settings)), settings, pictures)
        if not rows:
            raise _nothing(self.name, reader)
        train = [row.pair for row in rows if row.split == "train"]
        pool, apart = self._pool(settings, reader, rows, pictures)
        samples = self._samples(rows)
        notes = [*self.notes(settings), *reader.notes(), *apart]
        facts = {"source": self.name, "licence": self.licence_of(settings), "split": settings.split}
        content = shared_contents(
            clean_images([*train, *pool]), _test_images(rows), pictures.digest
        ) | _shared_patients(rows)
        data = DataSet(train, pool, samples, facts, reader.files())
        if content["also_in_train"] != data.leakage()["also_in_train"]:
            notes.append(
                f"By the bytes of the files, {content['also_in_train']} of {content['test_images']} test "
                "pictures also occur in train."
            )
        facts |= {"notes": notes, "leakage_by_content": content}
        return data

    def _samples(self, rows: Sequence[Row]) -> dict[tuple[str, str], list[Sample]]:
        """Return the rows as questions by split and task."""
        found: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        for row in sorted(rows, key=lambda row: SPLITS.index(row.split)):
            task = self.task_of(row) if self.task_of else self.tasks[0]
            found[row.split, task].append(row.sample())
        return dict(found)

    def _split(self, rows: list[Row], settings: Any, pictures: Pictures) -> list[Row]:
        if settings.split == "official":
            return rows
        shares = {"test": settings.test_share, "validation": settings.validation_share}
        keys = [_keys(row, pictures) for row in rows]
        splits = disjoint_splits(keys, settings.seed, shares)
        return [replace(row, split=split) for row, split in zip(rows, splits, strict=True)]

    def _pool(
        self, settings: Any, reader: Reader, rows: Sequence[Row], pictures: Pictures
    ) -> tuple[list[Pair], list[str]]:
        """Return the pool, and what is to be said of pairs that an image-disjoint split keeps out of it."""
        parts = self.pool(settings)
        if not parts:
            return [row.pair for row in rows if row.split == "train"], []
        pool = reader.read(parts)
        if settings.split == "official":
            return [row.pair for row in pool], []
        asked = {key for row in rows if row.split != "train" for key in _keys(row, pictures)}
        kept = [row.pair for row in pool if asked.isdisjoint(_keys(row, pictures))]
        if len(kept) == len(pool):
            return kept, []
        return kept, [f"{len(pool) - len(kept):,} preference pairs are left out: their pictures are asked."]

    def texts(self, settings: Any) -> list[str]:
        """Return the prompts, responses and earlier turns that are trained on; writes no images."""
        pictures = Pictures(self.roots(settings), None)
        reader = Reader(settings, pictures, False, lambda _: None, None)
        rows = self._split(reader.read(self.parts(settings)), settings, pictures)
        pool, _ = self._pool(settings, reader, rows, pictures) if self.pool(settings) else ([], [])
        texts = [text for row in rows if row.split == "train" for text in _said(row.pair)]
        known = set(texts)
        return texts + [text for pair in pool for text in _said(pair) if text not in known]

    def digest(self, settings: Any) -> str | None:
        """Return a hash that changes with the rows' files and the names and sizes in image folders."""
        try:
            parts = (*self.parts(settings), *self.pool(settings))
        except InputError:
            return None  # loading tells what is missing
        files = list(dict.fromkeys(part.path for part in parts))
        # A folder that holds the rows as well may hold anything else, such as the run itself.
        folders = [
            root
            for root in dict.fromkeys((self.listed or self.roots)(settings))
            if not any(path.is_relative_to(root) for path in files)
        ]
        return content_hash(
            [file_state(path) for path in files], [list(listing(root, self.depth)) for root in folders]
        )

    def work(self, settings: Any) -> int | None:
        """Return about how many rows there are, where that is quick to say."""
        try:
            parts = [*self.parts(settings), *self.pool(settings)]
            counts = [None if part.records else count_records(part.path) for part in parts]
        except (InputError, OSError):
            return None
        total = sum(count for count in counts if count is not None)
        return None if None in counts or settings.max_rows else total

    def source(self, summary: str, settings: type[ReadSettings], visual_kinds: tuple[str, ...]) -> Source:
        """Return the registry's entry."""
        return Source(
            summary=summary,
            settings=settings,
            tasks=self.tasks,
            load=self.load,
            texts=self.texts,
            digest=self.digest,
            work=self.work,
            visual_kinds=visual_kinds,
        )


def _said(pair: Pair) -> list[str]:
    earlier = (text for turn in pair.history for text in turn)
    texts = (*earlier, pair.prompt, *pair.responses.values())
    return [text.replace(IMAGE_PLACEHOLDER, "").strip() for text in texts]


def _nothing(name: str, reader: Reader) -> InputError:
    rows = [(file.path, row) for file in reader.files() for row in file.quarantined]
    first = f"; the first row's fault: {rows[0][1].reason}" if rows else ""
    return InputError(
        f"{name} gives no row that can be used, {len(rows)} have a fault{first}",
        where=f"{rows[0][0]}, line {rows[0][1].line}" if rows else None,
        remedy="Check the source's settings, above all where the images are.",
    )


def _keys(row: Row, pictures: Pictures) -> list[str]:
    """Return what a row may share with others: its pictures' bytes, and its patient."""
    images = [pictures.digest(path) for path in row.pair.images.get(ImageRole.CLEAN, ())]
    return [*images, *([f"patient {row.patient}"] if row.patient else [])] or [f"row {row.pair.id}"]


def _test_images(rows: Iterable[Row]) -> set[Path]:
    return clean_images(row.pair for row in rows if row.split == "test")


def _shared_patients(rows: Iterable[Row]) -> dict[str, int]:
    by_split = {
        split: {row.patient for row in rows if row.split == split and row.patient} for split in SPLITS
    }
    if not by_split["test"]:
        return {}
    both = by_split["test"] & by_split["train"]
    return {"test_patients": len(by_split["test"]), "patients_also_in_train": len(both)}


def register(name: str, summary: str, settings: type[ReadSettings], reading: Reading) -> Source:
    """Add a data set to the sources under `name`."""
    return sources.add(name, reading.source(summary, settings, VISUAL_KINDS))
