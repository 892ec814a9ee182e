"""Low-rank adapters as training settings ask for them: which layers get them, and with what weights."""

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from medpref.backbones.adapters import ADAPTER, tuned_layers
from medpref.backbones.base import Backbone, lies_in
from medpref.errors import InputError
from medpref.training.settings import LoraSettings


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
    if any(True for _ in tuned_layers(backbone.model)):
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
        # A part's name stands for all its layers, a layer's own at the end.
        part = backbone.parts.get(target)
        fitting = [n for n in linear if (lies_in(n, part) if part else n.split(".")[-1] == target)]
        if not fitting:
            known = [*backbone.parts, *sorted({name.split(".")[-1] for name in linear})]
            raise InputError(
                f"no linear layer fits {target!r}",
                where="lora.targets",
                remedy=f"Known: {', '.join(known)}.",
            )
        found.update(dict.fromkeys(fitting))
    return list(found)
