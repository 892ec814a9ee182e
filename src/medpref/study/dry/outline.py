"""Backbones without trained weights, for a dry run: tokenizer, template and sizes are the real ones."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from medpref.backbones.base import lies_in
from medpref.backbones.hf import HFBackbone
from medpref.backbones.llava import LlavaBackbone
from medpref.backbones.tiny import TinyLlavaSettings, build_tiny_llava
from medpref.registry import Registry
from medpref.starts.pretrained import PretrainedSettings, load_pretrained
from medpref.starts.tiny import TinyStartSettings
from medpref.study.dry.sizes import Adapters, Trained
from medpref.training.lora import target_layers
from medpref.training.settings import TrainingSettings

Texts = Callable[[], Iterable[str]]
# family → outline(settings, texts that a tokenizer may learn from)
outlines: Registry[Callable[[Any, Texts], HFBackbone]] = Registry("backbone family that can be planned")


@outlines.register("tiny-llava")
def outline_tiny(settings: TinyStartSettings, texts: Texts) -> LlavaBackbone:
    """Build the small model, without its warm-up."""
    sizes = settings.model_dump(include=set(TinyLlavaSettings.model_fields))
    return build_tiny_llava(settings.text, texts(), TinyLlavaSettings.model_validate(sizes), seed=0)


@outlines.register("pretrained")
def outline_pretrained(settings: PretrainedSettings, texts: Texts) -> HFBackbone:
    """Read a folder's configuration and tokenizer; the model has shapes and no weights.

    Raises:
        InputError: one of the files is missing or cannot be read, or no template is known.
    """
    return load_pretrained(settings, weights=False)


def what_trains(backbone: HFBackbone, settings: TrainingSettings) -> tuple[Trained, int]:
    """Return which parts settings train, and the bytes of all weights that are trained.

    Raises:
        InputError: a part or a target of adapters is none of the model's.
    """
    model = backbone.model
    model.requires_grad_(settings.lora is None)
    try:
        backbone.freeze(settings.freeze)
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        parts = {
            name: any(_trains(model.get_submodule(module)) for module in modules)
            for name, modules in backbone.parts.items()
        }
        head = _trains(model.get_output_embeddings())
    finally:
        model.requires_grad_(True)
    adapters = _adapters(backbone, settings)
    # Adapters are kept in fp32 whatever the model's type.
    size = sum(weight.numel() * weight.element_size() for weight in trained) + 4 * sum(adapters)
    return Trained(parts["tower"], parts["projector"], parts["language_model"], head, adapters), size


def _trains(module: nn.Module) -> bool:
    return any(weight.requires_grad for weight in module.parameters())


def _adapters(backbone: HFBackbone, settings: TrainingSettings) -> Adapters:
    """Count the weights of adapters, r·(inputs + outputs) for each layer, by part; frozen ones are none."""
    if settings.lora is None:
        return Adapters()
    found = dict.fromkeys(backbone.parts, 0)
    for name in target_layers(backbone, settings.lora):
        layer: Any = backbone.model.get_submodule(name)
        part = next(part for part, modules in backbone.parts.items() if lies_in(name, modules))
        found[part] += settings.lora.r * (layer.in_features + layer.out_features)
    kept = {part: 0 if part in settings.freeze else count for part, count in found.items()}
    return Adapters(kept["tower"], kept["projector"], kept["language_model"])
