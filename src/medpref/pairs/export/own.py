"""medpref's own format, with everything that a pair holds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medpref.pairs.export.base import ExportFormat, export_formats
from medpref.pairs.export.pictures import PictureFolder
from medpref.pairs.pair import Pair
from medpref.pairs.store import write_pairs

_USAGE = (
    "`pairs.jsonl` has one pair a line; images are named relative to this folder. "
    "`medpref validate pairs.jsonl` checks it, `medpref report pairs.jsonl` shows it."
)


def write(pairs: Sequence[Pair], path: Path, pictures: PictureFolder) -> None:
    """Write pairs as `medpref.pairs.store.write_pairs` does, with their images and regions beside them.

    Raises:
        InputError: an image cannot be read.
    """
    write_pairs(path, [_moved(pair, pictures) for pair in pairs])


def _moved(pair: Pair, pictures: PictureFolder) -> Pair:
    images = {role: tuple(map(pictures.image, files)) for role, files in pair.images.items()}
    return replace(pair, images=images, region=pictures.mask(pair.region) if pair.region else None)


export_formats.add("medpref", ExportFormat("medpref's own JSONL", "pairs.jsonl", write, _USAGE))
