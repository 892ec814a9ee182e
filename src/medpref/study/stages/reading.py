"""How stages read the data that they need: of one source, or of several sets together."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from medpref.errors import InputError
from medpref.pairs.pair import Pair
from medpref.pairs.sample import Sample, read_samples
from medpref.pairs.sources.base import read_data_pairs
from medpref.study.datasets import Use
from medpref.study.stage import StageContext


def data_folders(context: StageContext, use: Use) -> Iterator[tuple[str, Path]]:
    """Yield the name and folder of each set that the stage needs for a use; a single source has no name."""
    for role, folder in context.needs.items():
        if role == "data":
            yield "", folder
        elif role.startswith(f"data/{use}/"):
            yield role.removeprefix(f"data/{use}/"), folder


def data_pairs(context: StageContext, name: Use) -> tuple[Pair, ...]:
    """Return ``train`` or ``pool`` of all sets; ids begin with the set's name where there are sets."""
    found: list[Pair] = []
    for named, folder in data_folders(context, name):
        pairs = read_data_pairs(folder, name)
        found += [replace(pair, id=f"{named}/{pair.id}") for pair in pairs] if named else pairs
    return tuple(found)


def data_samples(context: StageContext, split: str, task: str, use: Use) -> list[Sample]:
    """Return the samples of a split and task, of the sets with a use.

    Raises:
        InputError: two sets have the task in this split: it would not be clear what a score is of.
    """
    files = {name: folder / f"{split}.{task}.jsonl" for name, folder in data_folders(context, use)}
    there = {name: file for name, file in files.items() if file.is_file()}
    if len(there) > 1:
        raise InputError(
            f"the sets {' and '.join(there)} both have {split} samples of the task {task}",
            where="data.sets",
            remedy=f"Let only one of them be used for {use}.",
        )
    return [sample for file in there.values() for sample in read_samples(file)]


def required_samples(context: StageContext, split: Use, task: str) -> list[Sample]:
    """Return the samples of a split and task. Raises `InputError` where there are none, or of two sets."""
    samples = data_samples(context, split, task, split)
    if not samples:
        raise InputError(f"the data has no {split} samples of the task {task}", where="data")
    return samples
