"""Pairs in groups: what one place in a batch holds, and which pairs are held out for evaluation."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import takewhile
from statistics import fmean
from typing import Any, NamedTuple

from torch.utils.data import Dataset

from medpref.errors import InputError
from medpref.pairs.pair import Pair
from medpref.pairs.store import group_by_image
from medpref.scoring.cells import Cell
from medpref.scoring.inputs import InputCache
from medpref.scoring.scorer import Scorer
from medpref.training.parts import TrainingPart
from medpref.training.settings import TrainingSettings


class Group(NamedTuple):
    """Pairs that are trained on together.

    Attributes:
        part: the number of the training part that they belong to.
        pairs: the pairs, all on one image.
        counted: false where the group only keeps a process busy that has no share of a small batch.
    """

    part: int
    pairs: tuple[Pair, ...]
    counted: bool = True


class PairGroups(Dataset[Group]):
    """All parts' pairs in groups: one item is one image with up to `largest` of its pairs of one part."""

    def __init__(self, parts: Sequence[TrainingPart], largest: int) -> None:
        self.groups = [
            Group(number, pairs)
            for number, part in enumerate(parts)
            for pairs in group_by_image(part.pairs, largest)
        ]

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self.groups)

    def hardness(self) -> list[float]:
        """Return each group's mean pair weight; a pair without a weight has weight 1."""
        return [
            fmean(1.0 if pair.weight is None else pair.weight for pair in group.pairs)
            for group in self.groups
        ]

    def __getitem__(self, index: int) -> Group:
        """Return one group; with ``~index`` the same group, not counted."""
        return self.groups[index] if index >= 0 else self.groups[~index]._replace(counted=False)


def collate(groups: Sequence[Group]) -> dict[str, Any]:
    """Put the pairs of several groups into one batch: for each part, its pairs; and whether they count."""
    pairs: dict[int, list[Pair]] = {}
    for group in groups:
        pairs.setdefault(group.part, []).extend(group.pairs)
    return {"pairs": pairs, "counted": all(group.counted for group in groups)}


def row_lengths(
    pairs: Iterable[Pair], cells: Sequence[Cell], inputs: InputCache, *, shared: bool = True
) -> tuple[int, ...]:
    """Return how many tokens each row takes that scoring `pairs` in `cells` needs, padding left out.

    Args:
        pairs: what is scored together.
        cells: in which cells.
        inputs: gives token ids.
        shared: paths on the same images share a row and all that they begin with; otherwise each path is a
            row of its own.
    """
    rows: dict[object, set[tuple[int, ...]]] = {}
    for pair in pairs:
        for cell in cells:
            prompt, response = inputs.ids(pair, cell)
            # The last response token predicts nothing that is read, so it needs no place in the row.
            path = (*prompt, *response[:-1])
            beginning = prompt[: _end_of_images(prompt, inputs.image_token)] if shared else (prompt, response)
            rows.setdefault((pair.images.get(cell.image, ()), beginning), set()).add(path)
    return tuple(map(_joined_length, rows.values()))


def all_row_lengths(
    groups: PairGroups, parts: Sequence[TrainingPart], scorer: Scorer
) -> list[tuple[int, ...]]:
    """Return the lengths of each group's rows, as `scorer` will lay them out."""
    return [
        row_lengths(group.pairs, parts[group.part].objective.cells, scorer.inputs, shared=scorer.shared)
        for group in groups.groups
    ]


def _joined_length(paths: Iterable[tuple[int, ...]]) -> int:
    """Return how many tokens paths take that share what they begin with."""
    length = 0
    before: tuple[int, ...] = ()
    # In order, a path has most in common with the one before it.
    for path in sorted(paths):
        same = takewhile(lambda two: two[0] == two[1], zip(before, path, strict=False))
        length += len(path) - sum(1 for _ in same)
        before = path
    return length


def _end_of_images(prompt: Sequence[int], image_token: int) -> int:
    """Return where the part of a prompt ends that all prompts on its images share."""
    return len(prompt) - prompt[::-1].index(image_token) if image_token in prompt else len(prompt)


class HeldOut(NamedTuple):
    """Parts divided by image into what is trained on and what is evaluated on.

    Attributes:
        train: all parts, with the pairs that are trained on.
        validation: all parts, some perhaps without pairs; nothing where nothing is held out.
    """

    train: tuple[TrainingPart, ...]
    validation: tuple[TrainingPart, ...]

    def rows(self) -> list[dict[str, str]]:
        """Name the pairs held out, with their part and images."""
        return [
            {"part": part.name, "id": pair.id, "images": pair.image_key}
            for part in self.validation
            for pair in part.pairs
        ]


def hold_out(parts: Sequence[TrainingPart], share: float, seed: int) -> HeldOut:
    """Hold out a share of the images, drawn by `seed`, with all their pairs in all parts.

    Raises:
        InputError: some part would have nothing left to train on.
    """
    if share == 0:
        return HeldOut(tuple(parts), ())
    keys = list(dict.fromkeys(_key(pair) for part in parts for pair in part.pairs))
    chosen = set(random.Random(f"{seed}/validation").sample(keys, max(1, round(share * len(keys)))))
    divided: tuple[list[TrainingPart], list[TrainingPart]] = ([], [])
    for part in parts:
        for held, side in enumerate(divided):
            pairs = [pair for pair in part.pairs if (_key(pair) in chosen) == bool(held)]
            side.append(replace(part, pairs=pairs))
    empty = next((part.name for part in divided[0] if not part.pairs), None)
    if empty is not None:
        raise InputError(
            f"holding out {len(chosen)} of {len(keys)} images leaves nothing to train on",
            where=empty,
            remedy="Lower validation_share, or add pairs on other images.",
        )
    return HeldOut(tuple(divided[0]), tuple(divided[1]))


def count_groups(parts: Sequence[TrainingPart], settings: TrainingSettings, seed: int) -> int:
    """Return how many groups are trained on, those held out left out."""
    return len(PairGroups(hold_out(parts, settings.validation_share, seed).train, settings.pairs_per_group))


def _key(pair: Pair) -> str:
    """Return what tells a pair's images from others'; a text-only pair stands for itself."""
    return pair.image_key or f"text {pair.id}"
