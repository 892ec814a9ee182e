"""Hashes of models: two models with the same hash give the same numbers for the same inputs."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

# What a configuration says about where and by whom it was written, not about what the model computes.
BESIDE_THE_POINT = {"architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path"}


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of named tensors: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def describe_config(config: Any) -> str:
    """Return a transformers configuration as sorted JSON, without what does not change the numbers."""
    return json.dumps(_plain(config.to_dict()), sort_keys=True, default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if key not in BESIDE_THE_POINT}
    return value
