"""LLaVA-style JSON: conversations by speaker, as published code for preference training reads them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medpref.files import write_json
from medpref.pairs.export.base import ExportFormat, export_formats
from medpref.pairs.export.pictures import PictureFolder
from medpref.pairs.pair import ImageRole, Pair, ResponseRole

_USAGE = (
    "`pairs.json` is a JSON array of `{id, image, conversations, rejected_conversations, rejected_image, "
    "weighted_score, kind}`; images are named relative to this folder. Keys without a value are left out."
)
_KEYS = {ResponseRole.CHOSEN: "conversations", ResponseRole.REJECTED: "rejected_conversations"}
_IMAGES = {ImageRole.CLEAN: "image", ImageRole.REJECTED: "rejected_image"}


def write(pairs: Sequence[Pair], path: Path, pictures: PictureFolder) -> None:
    """Write one JSON array; both conversations hold all their turns.

    Raises:
        InputError: an image cannot be read.
    """
    write_json(path, [_row(pair, path.parent, pictures) for pair in pairs])


def _row(pair: Pair, root: Path, pictures: PictureFolder) -> dict[str, Any]:
    row: dict[str, Any] = {"id": pair.id}
    for image_role, key in _IMAGES.items():
        names = [
            pictures.image(file).relative_to(root).as_posix() for file in pair.images.get(image_role, ())
        ]
        if names:
            row[key] = names[0] if len(names) == 1 else names
    asked = [text for turn in pair.history for text in turn] + [pair.prompt]
    for role, key in _KEYS.items():
        if role in pair.responses:
            said = [*asked, pair.responses[role]]
            row[key] = [
                {"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(said)
            ]
    given = {"weighted_score": pair.weight, "kind": pair.kind}
    return {**row, **{key: value for key, value in given.items() if value is not None}}


export_formats.add("llava", ExportFormat("LLaVA-style JSON", "pairs.json", write, _USAGE))
