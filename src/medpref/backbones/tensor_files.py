"""The tensor files of a checkpoint, whole or in shards: safetensors, or PyTorch's without pickled code."""

import json
import math
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from medpref.errors import InputError
from medpref.files import read_json

CHUNK = 16 * 2**20
"""How many bytes are read at once."""
SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")
# The names that the safetensors format gives to types, and the bytes of one element.
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
TORCH_NAMES = {name: str(dtype).removeprefix("torch.") for dtype, name in DTYPES.items()}
ITEM_BYTES = {name: dtype.itemsize for dtype, name in DTYPES.items()}


class TensorInfo(NamedTuple):
    """Where a tensor is and what it is like.

    Attributes:
        dtype: the type's name in the safetensors format, such as ``BF16``.
        shape: of the tensor.
        file: that holds it.
        start: where its bytes begin, counted from the file's first; PyTorch's files are read otherwise.
    """

    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int | None = None

    @property
    def nbytes(self) -> int:
        """How many bytes the tensor takes."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


class TensorFiles:
    """All tensors of a folder by name; nothing but headers is read until a tensor is asked for.

    Args:
        folder: holds ``model.safetensors`` or ``pytorch_model.bin``, or shards of either with their index.

    Raises:
        InputError: there are no tensor files, or an index or a shard is missing, broken or cut short.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files, indexed = _find_files(folder)
        self.infos: dict[str, TensorInfo] = {}
        for path in self.files:
            found = _read_header(path) if path.suffix == ".safetensors" else _read_torch(path)
            twice = self.infos.keys() & found.keys()
            if twice:
                raise InputError(f"the tensor {min(twice)} stands in two files", where=str(path))
            self.infos.update(found)
        _compare_with_index(folder, self.infos, indexed)

    def chunks(self, name: str) -> Iterator[memoryview]:
        """Yield a tensor's bytes piece by piece, as they are in row-major order."""
        info = self.infos[name]
        if info.start is None:
            tensor = self.tensor(name).contiguous()
            data = memoryview(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
            for start in range(0, len(data), CHUNK):
                yield data[start : start + CHUNK]
            return
        with info.file.open("rb") as file:
            file.seek(info.start)
            left = info.nbytes
            while left:
                piece = file.read(min(CHUNK, left))
                if not piece:
                    raise InputError("the file is cut short", where=str(info.file))
                left -= len(piece)
                yield memoryview(piece)

    def tensor(self, name: str) -> Tensor:
        """Return one tensor, mapped from its file where it can be."""
        info = self.infos[name]
        if info.start is None:
            tensor: Tensor = _load_torch(info.file, info.file.stat().st_mtime_ns)[name]
            return tensor
        with safe_open(info.file, "pt") as file:
            found: Tensor = file.get_tensor(name)
            return found


@dataclass(frozen=True, slots=True)
class Placed:
    """One tensor on its way into another checkpoint.

    Attributes:
        name: that it gets.
        files: where it comes from.
        source: its name there.
        extra_rows: how many rows of zeros are added at its end; below 0, how many are left out there.
    """

    name: str
    files: TensorFiles
    source: str
    extra_rows: int = 0

    @property
    def dtype(self) -> str:
        """The type's name in the safetensors format: that of the source, nothing is ever cast."""
        return self.files.infos[self.source].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that it gets."""
        shape = self.files.infos[self.source].shape
        return (shape[0] + self.extra_rows, *shape[1:]) if self.extra_rows else shape

    @property
    def nbytes(self) -> int:
        """How many bytes it will take."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]

    def chunks(self) -> Iterator[memoryview]:
        """Yield its bytes piece by piece."""
        left = self.nbytes
        for piece in self.files.chunks(self.source):
            if not left:
                return
            yield piece[:left]
            left -= min(left, len(piece))
        if left:
            yield memoryview(bytes(left))

    def tensor(self) -> Tensor:
        """Return it as a tensor."""
        whole = self.files.tensor(self.source)
        if self.extra_rows > 0:
            return torch.cat([whole, whole.new_zeros(self.extra_rows, *whole.shape[1:])])
        return whole[: self.shape[0]] if self.extra_rows else whole


def _find_files(folder: Path) -> tuple[tuple[Path, ...], dict[str, str] | None]:
    """Return the tensor files, and what the index says about them where there is one."""
    for single in SINGLE_FILES:
        index = folder / f"{single}.index.json"
        if index.is_file():
            return _read_index(index)
        if (folder / single).is_file():
            return (folder / single,), None
    for single in SINGLE_FILES:
        stem, suffix = single.split(".")
        if any(folder.glob(f"{stem}-*-of-*.{suffix}")):
            raise InputError(
                f"the shards have no index ({single}.index.json)",
                where=str(folder),
                remedy="Download the checkpoint's index file as well.",
            )
    raise InputError(
        "this folder holds no weights",
        where=str(folder),
        remedy=f"Expected {' or '.join(SINGLE_FILES)}, or shards of it with their index.",
    )


def _read_index(index: Path) -> tuple[tuple[Path, ...], dict[str, str]]:
    document = read_json(index)
    places = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(f, str) for f in places.values()):
        raise InputError("this is no index of a checkpoint (no weight_map)", where=str(index))
    names = sorted(set(places.values()))
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise InputError(f"the index names a file outside of its folder: {outside[0]}", where=str(index))
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(names)} shards are missing: {', '.join(missing)}",
            where=str(index.parent),
            remedy="Download them again.",
        )
    return tuple(index.parent / name for name in names), places


def _compare_with_index(folder: Path, infos: dict[str, TensorInfo], indexed: dict[str, str] | None) -> None:
    if indexed is None:
        return
    wrong = sorted(
        name
        for name in indexed.keys() | infos.keys()
        if name not in indexed or name not in infos or infos[name].file.name != indexed[name]
    )
    if wrong:
        raise InputError(
            f"index and shards do not agree on {len(wrong)} tensors, such as {wrong[0]}",
            where=str(folder),
            remedy="Download the checkpoint again: its files are of different versions.",
        )


def _read_header(path: Path) -> dict[str, TensorInfo]:
    """Return what a safetensors file holds. The library checks it; only it keeps the places to itself."""
    try:
        with safe_open(path, "pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise _broken(path, error) from None
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(size))
    header.pop("__metadata__", None)
    odd = sorted({entry["dtype"] for entry in header.values()} - ITEM_BYTES.keys())
    if odd:
        raise InputError(f"tensors of type {odd[0]} cannot be converted", where=str(path))
    return {
        name: TensorInfo(
            entry["dtype"], tuple(entry["shape"]), path, 8 + size + int(entry["data_offsets"][0])
        )
        for name, entry in header.items()
    }


def _read_torch(path: Path) -> dict[str, TensorInfo]:
    tensors = _load_torch(path, path.stat().st_mtime_ns)
    odd = sorted(name for name, value in tensors.items() if not isinstance(value, Tensor))
    if odd:
        raise InputError(f"{odd[0]} is no tensor", where=str(path))
    strange = sorted(name for name, tensor in tensors.items() if tensor.dtype not in DTYPES)
    if strange:
        raise InputError(f"tensors of type {tensors[strange[0]].dtype} cannot be converted", where=str(path))
    return {
        name: TensorInfo(DTYPES[tensor.dtype], tuple(tensor.shape), path) for name, tensor in tensors.items()
    }


# A file stays mapped while its tensors are read; the next one, or its next version, takes its place.
@lru_cache(maxsize=1)
def _load_torch(path: Path, changed: int) -> dict[str, Any]:
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise _broken(path, error) from None
    if not isinstance(tensors, dict):
        raise InputError("this file holds no named tensors", where=str(path))
    return tensors


def _broken(path: Path, error: Exception) -> InputError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(
        f"the file cannot be read, perhaps it is cut short: {reason}",
        where=str(path),
        remedy="Download it again.",
    )
