"""Reference log-probs on disk, for every later run from the same starting weights.

One folder for each model, by its fingerprint, holds shards that are only ever added: safetensors files with

    keys   uint8 (entries × 32): what was scored, see `entry_key`
    ends   int64 (entries): where each entry's values end in `logps`
    logps  float32 (tokens): log-probs of the response tokens, one entry after the other, in nats

A shard is called by the hash of its bytes. So it is checked before anything in it is used, and processes
that write at the same time never meet under one name with different contents: no locks are needed.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from medpref.files import file_hash, write_bytes

# Raised when the scorer computes something else from the same inputs: older entries are then not found.
VERSION = 1
KEY_BYTES = 32
Values = Float[Tensor, " tokens"]


def entry_key(
    model: str, precision: str, prompt: Sequence[int], response: Sequence[int], images: Sequence[str]
) -> bytes:
    """Return the 32 bytes that stand for one response's log-probs: a hash of all that they depend on.

    Args:
        model: the fingerprint of weights, configuration and preprocessing.
        precision: of the forward pass.
        prompt: token ids, the chat template included.
        response: token ids, the end token included.
        images: content hashes of the images that the prompt shows, in their order.
    """
    digest = hashlib.sha256()
    texts = [str(VERSION).encode(), model.encode(), precision.encode(), "|".join(images).encode()]
    ids = [np.asarray(tokens, dtype="<i8").tobytes() for tokens in (prompt, response)]
    for part in (*texts, *ids):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


class Place(NamedTuple):
    """Where an entry's values stand: a shard, and the range in its `logps`."""

    shard: Path
    start: int
    end: int


class ReferenceStore:
    """Log-probs by `entry_key`, kept below a folder.

    Args:
        folder: is made when something is first written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: dict[Path, str] = {}
        """Shards that could not be trusted, with the reason; nothing in them is used."""
        self._places: dict[str, dict[bytes, Place]] = {}
        self._seen: set[Path] = set()

    def get(self, model: str, keys: Iterable[bytes]) -> dict[bytes, Values]:
        """Return the values of those of `keys` that are stored; what other processes wrote is seen too.

        Args:
            model: the fingerprint that the keys were made with.
            keys: what `entry_key` returned.
        """
        self._read_new_shards(model)
        known = self._places.get(model, {})
        wanted: dict[Path, list[tuple[bytes, Place]]] = {}
        for key in keys:
            if key in known:
                wanted.setdefault(known[key].shard, []).append((key, known[key]))
        found: dict[bytes, Values] = {}
        for shard, entries in wanted.items():
            try:
                with safe_open(shard, framework="pt") as file:
                    logps = file.get_tensor("logps")
            except (SafetensorError, OSError) as error:
                self.damaged[shard] = str(error)
                continue
            found.update((key, logps[place.start : place.end]) for key, place in entries)
        return found

    def put(self, model: str, entries: Mapping[bytes, Values]) -> None:
        """Write `entries` as one new shard, whole or not at all.

        Raises:
            RunError: the disk is full or the folder cannot be written.
        """
        if not entries:
            return
        data = save(
            {
                "keys": torch.frombuffer(bytearray(b"".join(entries)), dtype=torch.uint8).view(-1, KEY_BYTES),
                "ends": torch.tensor([len(values) for values in entries.values()]).cumsum(0),
                "logps": torch.cat([values.float().cpu() for values in entries.values()]),
            }
        )
        shard = self.folder / model / f"{hashlib.sha256(data).hexdigest()}.safetensors"
        # A shard that a power failure cuts short is found out by its name.
        write_bytes(shard, data, durable=False)
        self._seen.discard(shard)

    def _read_new_shards(self, model: str) -> None:
        """Add the shards that were not looked at yet to the index."""
        places = self._places.setdefault(model, {})
        for shard in sorted((self.folder / model).glob("*.safetensors")):
            if shard in self._seen:
                continue
            self._seen.add(shard)
            try:
                places.update(_read_places(shard))
            except (SafetensorError, OSError, ValueError) as error:
                self.damaged[shard] = str(error)


def _read_places(shard: Path) -> dict[bytes, Place]:
    """Return where each entry of a shard stands.

    Raises:
        ValueError: the bytes are not those that were written, or the tensors do not fit each other.
    """
    if file_hash(shard) != shard.stem:
        raise ValueError("its bytes are not those that were written")
    with safe_open(shard, framework="pt") as file:
        keys, ends = file.get_tensor("keys"), file.get_tensor("ends")
        tokens = file.get_slice("logps").get_shape()[0]
    _check_shard(keys, ends, tokens)
    stops = ends.tolist()
    starts = [0, *stops[:-1]]
    rows = keys.numpy()
    return {
        row.tobytes(): Place(shard, start, end) for row, start, end in zip(rows, starts, stops, strict=True)
    }


def _check_shard(keys: UInt8[Tensor, "entries bytes"], ends: Int[Tensor, " entries"], tokens: int) -> None:
    # Every response has at least its end token.
    whole = len(ends) > 0 and int(ends[-1]) == tokens and int(ends.diff(prepend=ends.new_zeros(1)).min()) > 0
    if keys.shape != (len(ends), KEY_BYTES) or not whole:
        raise ValueError("its tensors do not fit each other")
