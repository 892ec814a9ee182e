"""Write a pair file as a folder that can be passed on."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medpref.errors import InputError
from medpref.files import disk_errors, write_text
from medpref.pairs.export.base import export_formats
from medpref.pairs.export.card import data_card
from medpref.pairs.export.licences import Licence, pair_licence, strictest
from medpref.pairs.export.pictures import PictureFolder
from medpref.pairs.pair import Pair
from medpref.pairs.recipes.base import LeftOut
from medpref.pairs.summary import PairSummary, summarise

CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: the folder's file of pairs, its counts, and the strictest licence."""

    file: Path
    summary: PairSummary
    licence: Licence


def export_pairs(
    pairs: Sequence[Pair],
    folder: Path,
    name: str,
    *,
    left_out: Sequence[LeftOut] = (),
    link: bool = False,
    may_share: bool = False,
) -> Exported:
    """Write pairs with their images and a data card to a new folder, whole or not at all.

    Args:
        pairs: the pairs.
        folder: where to; it must not exist.
        name: the format's name in `export_formats`.
        left_out: what filters removed before, for the card.
        link: make hard links to images instead of copies.
        may_share: whether the user says that the data may be passed on though its licence does not.

    Raises:
        InputError: there is no such format, the folder exists, there are no pairs, a licence forbids
            passing them on, or a pair cannot be written in the format.
        RunError: the folder cannot be written.
    """
    chosen = export_formats[name]
    if folder.exists():
        raise InputError("this folder is there already", where=str(folder))
    if not pairs:
        raise InputError("there are no pairs to export")
    licence = check_licences(pairs, may_share=may_share)
    summary = summarise(pairs, left_out)
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        with tempfile.TemporaryDirectory() as aside:
            # Embedded images pass through files too, which then do not stay.
            pictures = PictureFolder(Path(aside) if chosen.embeds else building / "images", link=link)
            chosen.write(pairs, building / chosen.file, pictures)
        write_text(building / CARD, data_card(summary, licence, chosen, name=folder.name))
        with disk_errors(folder):
            building.chmod(0o755)
            building.rename(folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return Exported(folder / chosen.file, summary, licence)


def check_licences(pairs: Sequence[Pair], *, may_share: bool) -> Licence:
    """Return the strictest licence of pairs.

    Raises:
        InputError: it does not allow that they are passed on, and the user did not say that they may be.
    """
    found = {(pair.provenance.source, pair.provenance.licence): pair_licence(pair) for pair in pairs}
    closed = {origin: kind for origin, kind in found.items() if not kind.shareable}
    if closed and not may_share:
        counts = Counter((pair.provenance.source, pair.provenance.licence) for pair in pairs)
        named = "; ".join(
            f"{origin[0]} (licence: {origin[1] or 'not given'}, {kind.name}; pairs: {counts[origin]:,})"
            for origin, kind in sorted(closed.items(), key=lambda item: str(item[0]))
        )
        raise InputError(
            f"nothing says that these pairs may be passed on: {named}",
            remedy="Leave them out, or say that you may share them: --i-may-share.",
        )
    return strictest(found.values())
