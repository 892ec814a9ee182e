"""Which rows are trained on and which are asked, and what the two have in common."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from medpref.pairs.fields import RowError
from medpref.pairs.recipes.base import seed_of

SPLITS = ("train", "validation", "test")
NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validate": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""What data sets call their splits."""


def split_name(value: object) -> str:
    """Return ``train``, ``validation`` or ``test`` for what a data set calls it. Raises `RowError`."""
    name = NAMES.get(str(value).strip().lower())
    if name is None:
        raise RowError(f"the split {value!r} is unknown: known are {', '.join(NAMES)}")
    return name


def disjoint_splits(keys: Sequence[Sequence[str]], seed: int, shares: Mapping[str, float]) -> list[str]:
    """Return a split for each row so that rows with a key in common are in the same one.

    A group of rows is drawn by a hash of the seed and its smallest key: what other groups there are, and in
    what order, changes nothing.

    Args:
        keys: of each row, at least one: what its images hold, and its patient.
        seed: of the draw.
        shares: the part of the groups that each split but ``train`` gets, in [0, 1].
    """
    groups = _Groups()
    for row in keys:
        for key in row:
            groups.join(row[0], key)
    return [_drawn(groups.root(row[0]), seed, shares) for row in keys]


class _Groups:
    """Sets of keys that are joined; each is known by its smallest key."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, key: str) -> str:
        self._parent.setdefault(key, key)
        while self._parent[key] != key:
            self._parent[key] = self._parent[self._parent[key]]
            key = self._parent[key]
        return key

    def join(self, one: str, other: str) -> None:
        first, second = sorted((self.root(one), self.root(other)))
        self._parent[second] = first


def _drawn(key: str, seed: int, shares: Mapping[str, float]) -> str:
    place = seed_of(str(seed), "split", key) / 2**64
    for split, share in shares.items():
        if place < share:
            return split
        place -= share
    return "train"


def shared_contents(
    train: Iterable[Path], test: Iterable[Path], digest: Callable[[Path], str]
) -> dict[str, int]:
    """Count the distinct pictures of the test and those that are also trained on, by the files' bytes.

    Only files of the same size are read. A picture that was saved again has other bytes and is not found.

    Args:
        train, test: image files.
        digest: returns the hash of a file's bytes.
    """
    trained, asked = set(train), set(test)
    sizes = Counter(map(_size, trained | asked))

    def content(path: Path) -> str:
        return digest(path) if sizes[_size(path)] > 1 else str(path)

    contents = set(map(content, asked))
    return {"test_images": len(contents), "also_in_train": len(contents & set(map(content, trained)))}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
