"""A data set for Hugging Face ``datasets``: Parquet in TRL's shape, with the images' bytes inside."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medpref.errors import InputError
from medpref.files import disk_errors, write_bytes
from medpref.pairs.export.base import ExportFormat, export_formats
from medpref.pairs.export.messages import any_images, prompt_messages, response_messages
from medpref.pairs.export.pictures import PictureFolder
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.store import CHANGE

_ROWS_AT_A_TIME = 100
_USAGE = """\
```python
from datasets import load_dataset

data = load_dataset("this folder", split="train")
```

The rows have TRL's shape: `data` is the `train_dataset` of TRL's `DPOTrainer` as it is."""

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_TEXT = {"dtype": "string", "_type": "Value"}
_NUMBER = {"dtype": "float64", "_type": "Value"}
_INTEGER = {"dtype": "int64", "_type": "Value"}
_PICTURE = {"_type": "Image"}
_PARTS = pa.list_(pa.struct([("type", pa.string()), ("text", pa.string())]))


def _messages(content: pa.DataType) -> pa.DataType:
    return pa.list_(pa.struct([("role", pa.string()), ("content", content)]))


def schema(*, parts: bool) -> pa.Schema:
    """Return the columns; without `parts` there are no images and contents are texts.

    The features that ``datasets`` reads lie in the schema's metadata, so that images decode by themselves.
    """
    said = _messages(_PARTS if parts else pa.string())
    shown = [("images", pa.list_(_IMAGE))] if parts else []
    behind = [("rejected_images", pa.list_(_IMAGE)), ("region", _IMAGE)] if parts else []
    columns = [
        ("id", pa.string()),
        *shown,
        *((name, said) for name in ("prompt", "chosen", "rejected")),
        *behind,
        ("weight", pa.float64()),
        ("kind", pa.string()),
        *((name, pa.string()) for name in ("source", "recipe", "licence")),
        ("seed", pa.int64()),
        ("changes", pa.list_(CHANGE)),
    ]
    features = {name: _feature(kind) for name, kind in columns}
    about = json.dumps({"info": {"features": features}})
    return pa.schema(columns, metadata={"huggingface": about})


def _feature(kind: pa.DataType) -> Any:
    """Return a column's type as ``datasets`` writes it, in the spelling that old and new versions read."""
    if kind == _IMAGE:
        return _PICTURE
    if pa.types.is_struct(kind):
        return {
            kind.field(number).name: _feature(kind.field(number).type) for number in range(kind.num_fields)
        }
    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        return [inner] if pa.types.is_struct(kind.value_type) else {"feature": inner, "_type": "Sequence"}
    return {pa.string(): _TEXT, pa.float64(): _NUMBER, pa.int64(): _INTEGER}[kind]


def write(pairs: Sequence[Pair], path: Path, pictures: PictureFolder) -> None:
    """Write one Parquet file, a hundred rows at a time; image paths in it are names without a folder.

    Raises:
        InputError: an image cannot be read.
        RunError: the file cannot be written.
    """
    parts = any_images(pairs)
    columns = schema(parts=parts)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(path, columns) as writer:
            for start in range(0, len(pairs), _ROWS_AT_A_TIME):
                rows = [_row(pair, pictures, parts) for pair in pairs[start : start + _ROWS_AT_A_TIME]]
                writer.write_table(pa.Table.from_pylist(rows, columns))


def _row(pair: Pair, pictures: PictureFolder, parts: bool) -> dict[str, Any]:
    shown = {
        role: [_embedded(pictures.image(file)) for file in pair.images.get(role, ())] for role in ImageRole
    }
    row: dict[str, Any] = {
        "id": pair.id,
        "prompt": prompt_messages(pair, parts=parts),
        **{str(role): response_messages(pair, role, parts=parts) for role in ResponseRole},
        "weight": pair.weight,
        "kind": pair.kind,
        "source": pair.provenance.source,
        "recipe": pair.provenance.recipe,
        "licence": pair.provenance.licence,
        "seed": pair.provenance.seed,
        "changes": [change._asdict() for change in pair.changes],
    }
    if parts:
        row["images"] = shown[ImageRole.CLEAN]
        row["rejected_images"] = shown[ImageRole.REJECTED]
        row["region"] = _embedded(pictures.mask(pair.region)) if pair.region else None
    return row


def _embedded(path: Path) -> dict[str, Any]:
    return {"bytes": path.read_bytes(), "path": path.name}


def unpack_images(path: Path, folder: Path) -> int:
    """Write the images of an exported Parquet file to a folder, so that medpref reads its rows from there.

    Args:
        path: the Parquet file.
        folder: where the images go; then ``read_pairs(path, images=folder)`` reads the pairs.

    Returns:
        How many image files there are.

    Raises:
        InputError: the file is no such Parquet file, or names an image outside `folder`.
    """
    written: set[str] = set()
    for image in _images(path):
        name = str(image["path"])
        if Path(name).name != name:
            raise InputError("an image's name has a folder in it", where=f"{path}, {name}")
        if name not in written:
            write_bytes(folder / name, image["bytes"], durable=False)
            written.add(name)
    return len(written)


def _images(path: Path) -> Iterator[dict[str, Any]]:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"the file is no readable Parquet: {error}", where=str(path)) from None
    with file:
        there = [name for name in ("images", "rejected_images", "region") if name in file.schema_arrow.names]
        for batch in file.iter_batches(_ROWS_AT_A_TIME, columns=there):
            for row in batch.to_pylist():
                yield from (*(row.get("images") or ()), *(row.get("rejected_images") or ()))
                if row.get("region"):
                    yield row["region"]


export_formats.add(
    "datasets",
    ExportFormat(
        "Parquet for Hugging Face datasets, images inside",
        "data/train-00000-of-00001.parquet",
        write,
        _USAGE,
        config={"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]},
        embeds=True,
    ),
)
