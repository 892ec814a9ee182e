"""Low-rank adapters: put into a backbone, saved, read, put off for a while, and merged into the weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from medpref.backbones.base import Backbone
from medpref.backbones.llava import PARTS
from medpref.errors import InputError
from medpref.files import disk_errors, write_bytes
from medpref.training.settings import LoraSettings

ADAPTER = "default"
WEIGHTS = "adapter_model.safetensors"
# What peft's own loader expects before each name: the model as its wrapper holds it.
PREFIX = "base_model.model."


def add_lora(backbone: Backbone, settings: LoraSettings, *, seed: int = 0) -> None:
    """Put adapters into a backbone's model, in place; all its own weights stop training.

    The model computes the same as before until the adapters are trained.

    Args:
        backbone: the model.
        settings: rank, scale and targets.
        seed: of the adapters' first weights.

    Raises:
        InputError: no linear layer fits a target, or the model has adapters already.
    """
    if any(True for _ in _tuned(backbone)):
        raise InputError("the model has adapters already", remedy="Merge them first.")
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=target_layers(backbone, settings),
        use_rslora=settings.rslora,
        bias="none",
    )
    backbone.model.requires_grad_(False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(config, backbone.model, ADAPTER)
    for parameter in backbone.model.parameters():
        if parameter.requires_grad:
            # Small updates get lost in half precision.
            parameter.data = parameter.data.float()


def target_layers(backbone: Backbone, settings: LoraSettings) -> list[str]:
    """Return the names of the linear layers that get adapters; the LM head is none of them.

    Raises:
        InputError: no layer fits one of the targets.
    """
    linear = [name for name, module in backbone.model.named_modules() if isinstance(module, nn.Linear)]
    found: dict[str, None] = {}
    for target in settings.targets:
        # A part's name stands somewhere in the way to its layers, a layer's own at the end.
        part = PARTS.get(target)
        fitting = [n for n in linear if (part in n.split(".") if part else n.split(".")[-1] == target)]
        if not fitting:
            raise InputError(
                f"no linear layer fits {target!r}",
                where="lora.targets",
                remedy=f"Known: {', '.join([*PARTS, *sorted({name.split('.')[-1] for name in linear})])}.",
            )
        found.update(dict.fromkeys(fitting))
    return list(found)


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

    Raises:
        InputError: the model has no adapters, or the merged weights are not finite numbers.
    """
    layers = list(_tuned(backbone))
    if not layers:
        raise InputError("the model has no adapters to merge")
    for name, layer in layers:
        try:
            layer.merge(safe_merge=True)
        except ValueError as error:
            raise InputError(f"the adapter cannot be merged: {error}", where=name) from None
        backbone.model.set_submodule(name, layer.get_base_layer())
    del backbone.model.peft_config


@contextmanager
def adapters_off(backbone: Backbone) -> Iterator[None]:
    """Let the model compute without its adapters: as the weights were before training.

    Raises:
        InputError: the model has no adapters.
    """
    layers = [layer for _, layer in _tuned(backbone)]
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


def _tuned(backbone: Backbone) -> Iterator[tuple[str, BaseTunerLayer]]:
    for name, module in backbone.model.named_modules():
        if isinstance(module, BaseTunerLayer):
            yield name, module
