"""A backbone's weights in checkpoints: whole Hugging Face folders, or adapters alone."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from medpref.backbones.adapters import load_adapter, merge_lora, save_adapter
from medpref.backbones.base import Backbone
from medpref.files import disk_errors

# What stands before the names of a backbone's weights in the module that the scorer trains.
PREFIX = "model."


def write_weights(
    backbone: Backbone, folder: Path, weights: Mapping[str, Tensor] | None = None, *, lora: bool = False
) -> None:
    """Write what is trained: the whole model, or with `lora` the adapters.

    Args:
        backbone: whose weights are written.
        folder: the checkpoint.
        weights: the scoring module's weights by name, where they are spread over processes and had to be
            brought together; by default the model's own are taken.
        lora: whether the model has adapters.
    """
    plain = _own_names(weights) if weights is not None else None
    if lora:
        save_adapter(backbone, folder, plain)
        return
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        backbone.model.save_pretrained(folder, state_dict=plain)  # type: ignore[operator]


def _own_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(PREFIX): value for name, value in weights.items()}


def make_whole(backbone: Backbone, weights: Mapping[str, Tensor]) -> None:
    """Put whole weights into a model of which each process held a part; it can be saved then, but not called.

    Args:
        backbone: whose model is meant.
        weights: the scoring module's whole weights by name.
    """
    for name, value in _own_names(weights).items():
        place, _, own = name.rpartition(".")
        module = backbone.model.get_submodule(place)
        if own in dict(module.named_parameters(recurse=False)):
            setattr(module, own, nn.Parameter(value, requires_grad=value.is_floating_point()))


def read_weights(backbone: Backbone, folder: Path, *, lora: bool = False) -> None:
    """Read what `write_weights` wrote.

    Raises:
        InputError: a tensor is missing, left over or of the wrong shape.
    """
    if lora:
        load_adapter(backbone, folder)
    else:
        backbone.load_weights(folder)


def complete_states(optimizer: torch.optim.Optimizer) -> None:
    """Give weights that no gradient has reached yet the state that AdamW begins with.

    FSDP reads no checkpoint without it, and a vision tower's last norm, say, is never reached.
    """
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight not in optimizer.state:
                moments = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
                optimizer.state[weight] = {"step": torch.zeros(()), **moments}


def save_trained(backbone: Backbone, folder: Path, *, lora: bool = False) -> None:
    """Write a trained backbone as a plain folder that loads without us.

    Args:
        backbone: the backbone; its adapters are merged into its weights, in place.
        folder: where to; adapters also go to its subfolder ``adapter``.
        lora: whether the model has adapters.
    """
    if lora:
        save_adapter(backbone, folder / "adapter")
        merge_lora(backbone)
    backbone.save(folder)
