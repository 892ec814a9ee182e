"""What an export format is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medpref.errors import InputError
from medpref.pairs.export.pictures import PictureFolder
from medpref.pairs.pair import Pair, ResponseRole
from medpref.registry import Registry


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """One way to write pairs down.

    Attributes:
        summary: one line for listings.
        file: the file that holds the pairs, relative to the export's folder.
        write: ``write(pairs, path, pictures)`` writes that file, and the images through `pictures`.
        config: the ``configs`` entry of the data card, by which Hugging Face's loaders find the file.
        usage: how the file is read, for the data card.
        embeds: whether the images lie in the file itself, and not in a folder beside it.
    """

    summary: str
    file: str
    write: Callable[[Sequence[Pair], Path, PictureFolder], None]
    usage: str
    config: dict[str, Any] | None = None
    embeds: bool = False


export_formats: Registry[ExportFormat] = Registry("export format")


def need_rejected(pairs: Sequence[Pair], name: str) -> None:
    """Check that every pair has a rejected response.

    Raises:
        InputError: one has none; the message names it.
    """
    for pair in pairs:
        if ResponseRole.REJECTED not in pair.responses:
            raise InputError(
                f"the format {name} needs a rejected response, and the pair has none",
                where=f"pair {pair.id}",
                remedy="Use --format medpref or datasets, which can leave it out.",
            )
