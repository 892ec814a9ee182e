"""Small replicas of published data sets, and how a source is asked to read them."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from medpref.pairs.sources import DataSet, sources


def load(name: str, out: Path, *, fatal: bool = False, **settings: Any) -> DataSet:
    """Read a source; what it writes goes below `out`."""
    source = sources[name]
    return source.load(source.settings.model_validate(settings), out, fatal, lambda _: None)


def aside(data: DataSet) -> list[tuple[str, int, str]]:
    """Return the file, line and reason, up to its details, of every row that was not used."""
    return [
        (file.path.name, row.line, row.reason.split(":")[0])
        for file in data.quarantined
        for row in file.quarantined
    ]


def png(seed: int, size: tuple[int, int] = (12, 16)) -> bytes:
    """Return a small random image as the bytes of a PNG."""
    pixels = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_images(folder: Path, names: Mapping[str, int]) -> None:
    """Write an image for each name; equal seeds are equal bytes."""
    for name, seed in names.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(seed))


def write_array(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as one JSON array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1))
    return path


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as Hugging Face does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path
