"""Write safetensors shards piece by piece: no more than one piece of one tensor is in memory."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from medpref.backbones.tensor_files import ITEM_BYTES, Placed
from medpref.files import disk_errors, write_json

Shard: TypeAlias = tuple[Placed, ...]
INDEX = "model.safetensors.index.json"


def plan_shards(placed: Sequence[Placed], limit: int) -> dict[str, Shard]:
    """Spread tensors over shards of at most `limit` bytes, in order; a tensor is never cut.

    Returns:
        File name → what it will hold.
    """
    groups: list[list[Placed]] = []
    size = 0
    for tensor in placed:
        if not groups or size + tensor.nbytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(tensor)
        size += tensor.nbytes
    return {
        f"model-{number:05d}-of-{len(groups):05d}.safetensors": tuple(group)
        for number, group in enumerate(groups, start=1)
    }


def write_shard(path: Path, shard: Shard) -> str:
    """Write one shard, whole or not at all.

    Returns:
        The SHA-256 of the file.

    Raises:
        InputError: a source is cut short.
        RunError: the disk is full or the folder cannot be written.
    """
    # Wide types first, as the library writes them: every tensor then begins at a multiple of its width.
    ordered = sorted(shard, key=lambda tensor: (-ITEM_BYTES[tensor.dtype], tensor.name))
    digest = hashlib.sha256()
    unfinished = path.with_name(f".{path.name}.tmp")
    with disk_errors(path):
        try:
            with unfinished.open("wb") as file:
                header = _header(ordered)
                file.write(header)
                digest.update(header)
                for tensor in ordered:
                    for piece in tensor.chunks():
                        file.write(piece)
                        digest.update(piece)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
    return digest.hexdigest()


def _header(tensors: Sequence[Placed]) -> bytes:
    """Return length and header of a safetensors file, as huggingface.co/docs/safetensors describes it."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for tensor in tensors:
        end = start + tensor.nbytes
        entries[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_index(folder: Path, shards: dict[str, Shard]) -> None:
    """Write the index that tells in which shard a tensor is. Raises `RunError` as `write_json` does."""
    places = {tensor.name: name for name, shard in shards.items() for tensor in shard}
    total = sum(tensor.nbytes for shard in shards.values() for tensor in shard)
    document = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    write_json(folder / INDEX, document)
