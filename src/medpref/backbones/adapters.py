"""Low-rank adapters in a backbone: attached, saved, read, put off for a while, merged into the weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from medpref.backbones.base import Backbone
from medpref.backbones.quantized import dequantize, is_quantized
from medpref.errors import InputError
from medpref.files import disk_errors, write_bytes

ADAPTER = "default"
WEIGHTS = "adapter_model.safetensors"
# What peft's own loader expects before each name: the model as its wrapper holds it.
PREFIX = "base_model.model."


def attach_adapter(backbone: Backbone, folder: Path) -> None:
    """Put the adapters of a folder into a model that has none; nothing of them is trained.

    Args:
        backbone: changed in place; compute with it, or merge it with `merge_lora`.
        folder: as `save_adapter` and peft write it: adapter_config.json and adapter_model.safetensors.

    Raises:
        InputError: the folder cannot be read, it holds no LoRA, or its adapters do not fit the model.
    """
    try:
        config: Any = PeftConfig.from_pretrained(str(folder))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"the adapter's configuration cannot be read: {error}", where=str(folder)) from None
    if config.peft_type != "LORA":
        raise InputError(f"only LoRA can be loaded, and this is {config.peft_type}", where=str(folder))
    trained = [weight for weight in backbone.model.parameters() if weight.requires_grad]
    try:
        inject_adapter_in_model(config, backbone.model, ADAPTER)
    except ValueError as error:
        raise InputError(f"the adapter does not fit this model: {error}", where=str(folder)) from None
    load_adapter(backbone, folder)
    backbone.model.requires_grad_(False)
    for weight in trained:
        weight.requires_grad_(True)


def save_adapter(backbone: Backbone, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write the adapters as peft's ``from_pretrained`` reads them.

    Args:
        backbone: the model with its adapters.
        folder: where ``adapter_model.safetensors`` and ``adapter_config.json`` go.
        weights: the model's weights by name, where they are not in the model itself.
    """
    state = get_peft_model_state_dict(
        backbone.model, state_dict=dict(weights) if weights is not None else None, adapter_name=ADAPTER
    )
    tensors = {f"{PREFIX}{name}": tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        model: Any = backbone.model
        model.peft_config[ADAPTER].save_pretrained(str(folder))
    write_bytes(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))


def load_adapter(backbone: Backbone, folder: Path) -> None:
    """Read what `save_adapter` wrote into the adapters that the model has.

    Raises:
        InputError: the file is missing or damaged, or its adapters are not those of the model.
    """
    path = folder / WEIGHTS
    try:
        found = {name.removeprefix(PREFIX): value for name, value in load(path.read_bytes()).items()}
    except (OSError, SafetensorError) as error:
        raise InputError(f"the adapter cannot be read: {error}", where=str(path)) from None
    own = get_peft_model_state_dict(backbone.model, adapter_name=ADAPTER)
    wrong = [name for name in own.keys() | found.keys() if _shape(own, name) != _shape(found, name)]
    if wrong:
        raise InputError(
            f"{len(wrong)} tensors are missing, left over or of the wrong shape, such as {min(wrong)}",
            where=str(path),
            remedy="The adapter belongs to another model or to other lora settings.",
        )
    set_peft_model_state_dict(backbone.model, found, adapter_name=ADAPTER)


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(tensors[name].shape) if name in tensors else None


def merge_lora(backbone: Backbone) -> None:
    """Add the adapters' update to the weights and take the adapters out: a plain model is left.

    Weights in 4 bits are taken back to the type that they compute in first: rounded to 4 bits again, they
    would lose most of the update.

    Raises:
        InputError: the model has no adapters, or the merged weights are not finite numbers.
    """
    model: Any = backbone.model
    layers = list(tuned_layers(model))
    if not layers:
        raise InputError("the model has no adapters to merge")
    quantized = is_quantized(model)
    updates: dict[str, Tensor] = {}
    for name, layer in layers:
        if quantized:
            updates[name] = layer.get_delta_weight(ADAPTER).detach()
        else:
            try:
                layer.merge(safe_merge=True)
            except ValueError as error:
                raise InputError(f"the adapter cannot be merged: {error}", where=name) from None
        model.set_submodule(name, layer.get_base_layer())
    del model.peft_config
    if quantized:
        dequantize(model)
        for name, update in updates.items():
            _add(model.get_submodule(name), update, name)


@torch.no_grad()
def _add(layer: nn.Module, update: Tensor, name: str) -> None:
    weight: Any = layer.weight
    merged = weight.float() + update.float()
    if not merged.isfinite().all():
        raise InputError("the merged weights are not finite numbers", where=name)
    weight.copy_(merged.to(weight.dtype))


@contextmanager
def adapters_off(backbone: Backbone) -> Iterator[None]:
    """Let the model compute without its adapters: as the weights were before training.

    Raises:
        InputError: the model has no adapters.
    """
    layers = [layer for _, layer in tuned_layers(backbone.model)]
    if not layers:
        raise InputError("the model has no adapters to put off")
    trained = [weight for weight in backbone.model.parameters() if weight.requires_grad]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
        # Putting adapters on and off says anew which weights are trained.
        for weight in backbone.model.parameters():
            weight.requires_grad_(False)
        for weight in trained:
            weight.requires_grad_(True)


def tuned_layers(model: nn.Module) -> Iterator[tuple[str, BaseTunerLayer]]:
    """Yield the layers that have adapters, by name."""
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            yield name, module
