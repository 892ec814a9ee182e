"""TRL's preference format as JSONL: images by path, conversations as message lists."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medpref.files import write_jsonl
from medpref.pairs.export.base import ExportFormat, export_formats, need_rejected
from medpref.pairs.export.messages import any_images, prompt_messages, response_messages
from medpref.pairs.export.pictures import PictureFolder
from medpref.pairs.pair import ImageRole, Pair, ResponseRole

_USAGE = """\
```python
from pathlib import Path
from datasets import Image, List, load_dataset

folder = Path("this folder")
data = load_dataset("json", data_files=str(folder / "pairs.jsonl"), split="train")
data = data.map(lambda row: {"images": [str(folder / name) for name in row["images"]]})
data = data.cast_column("images", List(Image()))  # older versions: [Image()]
```

`data` then is the `train_dataset` of TRL's `DPOTrainer`; a set without images needs only the second line.
TRL reads `images`, `prompt`, `chosen` and `rejected`."""


def write(pairs: Sequence[Pair], path: Path, pictures: PictureFolder) -> None:
    """Write ``{id, images, prompt, chosen, rejected, …}``, one row a line.

    Rejected images, weights and kinds stand in keys of their own. Where no pair has an image the key
    ``images`` is left out and contents are texts, since TRL takes any such key for a vision data set.

    Raises:
        InputError: a pair has no rejected response, or an image cannot be read.
    """
    need_rejected(pairs, "trl")
    parts = any_images(pairs)
    write_jsonl(path, [_row(pair, path.parent, pictures, parts) for pair in pairs])


def _row(pair: Pair, root: Path, pictures: PictureFolder, parts: bool) -> dict[str, Any]:
    shown = {
        role: [pictures.image(file).relative_to(root).as_posix() for file in pair.images.get(role, ())]
        for role in ImageRole
    }
    row: dict[str, Any] = {"id": pair.id}
    if parts:
        row["images"] = shown[ImageRole.CLEAN]
    row["prompt"] = prompt_messages(pair, parts=parts)
    for role in ResponseRole:
        row[str(role)] = response_messages(pair, role, parts=parts)
    if parts:
        row["rejected_images"] = shown[ImageRole.REJECTED]
    return {**row, "weight": pair.weight, "kind": pair.kind}


export_formats.add("trl", ExportFormat("TRL's preference format, JSONL", "pairs.jsonl", write, _USAGE))
