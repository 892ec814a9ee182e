"""Which of a backbone's weights are trained, and how fast."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from medpref.backbones.base import Backbone, lies_in
from medpref.errors import InputError
from medpref.training.lora import add_lora
from medpref.training.settings import TrainingSettings


def prepare_model(backbone: Backbone, settings: TrainingSettings, seed: int) -> None:
    """Put adapters in, freeze parts, and let activations be computed again where the settings say so.

    Args:
        backbone: changed in place.
        settings: lora, freeze and gradient_checkpointing.
        seed: of the adapters' first weights.

    Raises:
        InputError: there is nothing left to train, or the settings name what the model doesn't have.
    """
    if settings.lora is not None:
        add_lora(backbone, settings.lora, seed=seed)
    backbone.freeze(settings.freeze)
    if not any(weight.requires_grad for weight in backbone.model.parameters()):
        raise InputError("all weights are frozen", where="freeze", remedy="Name fewer parts.")
    backbone.recompute = settings.recompute
    if settings.gradient_checkpointing:
        # Without re-entrance, the keyword arguments of the layers' calls reach the second forward pass.
        _checkpointing(backbone.model)({"use_reentrant": False})


def _checkpointing(model: Any) -> Any:
    """Return what turns checkpointing on: its name changed within the versions that we run with."""
    return getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable


def parameter_groups(
    model: nn.Module, tower: Sequence[str], settings: TrainingSettings
) -> list[dict[str, Any]]:
    """Split the trained parameters into those of the modules `tower` and the rest, each with its rate."""
    groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[lies_in(name, tower)].append(parameter)
    rates = {False: settings.learning_rate, True: settings.learning_rate * settings.tower_factor}
    return [{"params": members, "lr": rates[which]} for which, members in groups.items() if members]


def sharded_layers(model: nn.Module) -> list[str]:
    """Return the classes of the layers that FSDP treats as wholes: what the model says may not be split."""
    whole = getattr(model, "_no_split_modules", None) or ()
    # It also names parts of kinds that this model has none of, which FSDP takes for a mistake.
    return sorted({type(module).__name__ for module in model.modules()} & set(whole))
