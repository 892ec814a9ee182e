"""Finds a data set's files in the folder that it was unpacked to."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from medpref.errors import InputError
from medpref.pairs.sources.rows import Entry, FolderSettings, Parse, Part
from medpref.pairs.sources.splits import NAMES

_SHARD = re.compile(r"-[0-9a-f]{16}$")


def split_files(folder: Path, names: Mapping[str, Sequence[str]], parse: Parse) -> list[Part]:
    """Return the file of each split: of several names that one goes by, the first that is there."""
    found = {split: first_there(folder, options) for split, options in names.items()}
    return [Part(path, split, parse) for split, path in found.items() if path is not None]


def first_there(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first of `names` that `folder` has, or None."""
    return next((folder / name for name in names if (folder / name).exists()), None)


def parquet_parts(folder: Path, parse: Parse) -> list[Part]:
    """Return the Parquet files of a Hugging Face data set, in the order of their names.

    The split is the beginning of the name (``train-00000-of-00002.parquet``) or the folder's name
    (``train/0000.parquet``); a file without one is passed over.
    """
    shards = sorted(folder.rglob("*.parquet"))
    return [Part(path, split, parse) for path in shards if (split := _split_of(path)) is not None]


def _split_of(path: Path) -> str | None:
    names = (re.split(r"[-_.]", path.name)[0], path.parent.name)
    return next((NAMES[name.lower()] for name in names if name.lower() in NAMES), None)


def shard_id(entry: Entry) -> str:
    """Return an id for a row that has none: its split, file and place there."""
    stem = _SHARD.sub("", entry.record.file.stem)
    split = entry.split or "row"
    return "-".join(filter(None, (split, stem.removeprefix(split).strip("-_"), str(entry.record.line))))


def image_roots(settings: FolderSettings, *names: str) -> list[Path]:
    """Return where images are looked for: the settings' folder, or the first of `names` that is there."""
    if settings.images is not None:
        return [settings.images]
    found = [settings.folder / name for name in names if (settings.folder / name).is_dir()]
    return [*found, settings.folder]


def nothing_found(name: str, folder: Path, looked_for: str) -> InputError:
    """Return the error for a folder that holds none of a data set's layouts."""
    zipped = sorted(path.name for path in folder.glob("*.zip"))
    unpack = f" Unpack {', '.join(zipped)} first." if zipped else ""
    return InputError(
        f"this folder holds no layout of {name} that is known", where=str(folder), remedy=looked_for + unpack
    )
