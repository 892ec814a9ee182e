"""Backbones without trained weights, for a dry run: tokenizer, template and sizes are the real ones."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaImageProcessorPil
from transformers import PreTrainedTokenizerFast as Tokenizer

from medpref.backbones.llava import PARTS, SIDECAR, LlavaBackbone
from medpref.backbones.templates import templates
from medpref.backbones.tiny import TinyLlavaSettings, build_tiny_llava
from medpref.errors import InputError
from medpref.registry import Registry
from medpref.starts.llava import LlavaSettings
from medpref.starts.tiny import TinyStartSettings
from medpref.study.dry.sizes import Adapters, Decoder, Model, Tower, Trained
from medpref.training.lora import target_layers
from medpref.training.settings import TrainingSettings

Texts = Callable[[], Iterable[str]]
# family → outline(settings, texts that a tokenizer may learn from)
outlines: Registry[Callable[[Any, Texts], LlavaBackbone]] = Registry("backbone family that can be planned")


@outlines.register("tiny-llava")
def outline_tiny(settings: TinyStartSettings, texts: Texts) -> LlavaBackbone:
    """Build the small model, without its warm-up."""
    sizes = settings.model_dump(include=set(TinyLlavaSettings.model_fields))
    return build_tiny_llava(settings.text, texts(), TinyLlavaSettings.model_validate(sizes), seed=0)


@outlines.register("llava")
def outline_llava(settings: LlavaSettings, texts: Texts) -> LlavaBackbone:
    """Read a folder's configuration and tokenizer; the model has shapes and no weights.

    Raises:
        InputError: one of the files is missing or cannot be read, or no template is known.
    """
    folder = settings.path
    try:
        config = LlavaConfig.from_pretrained(folder, local_files_only=True)
        tokenizer = Tokenizer.from_pretrained(folder, local_files_only=True)
        processor = LlavaImageProcessorPil.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        remedy = "Name a folder with config.json, tokenizer and image processor; weights are not needed."
        raise InputError(f"the model cannot be outlined: {error}", where=str(folder), remedy=remedy) from None
    side = json.loads((folder / SIDECAR).read_text()) if (folder / SIDECAR).is_file() else {}
    template = settings.template or side.get("template")
    if template is None:
        remedy = f"Set template to one of: {', '.join(templates)}."
        raise InputError("no chat template is named for this model", where=str(folder), remedy=remedy)
    with torch.device("meta"):
        model = LlavaForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    length = settings.max_length or side.get("max_length") or config.text_config.max_position_embeddings
    return LlavaBackbone(model, tokenizer, processor, template, length)


def measure(backbone: LlavaBackbone) -> Model:
    """Return a model's sizes, read off its configuration and its weights' shapes."""
    config = backbone.model.config
    vision, text = config.vision_config, config.text_config
    weights = list(backbone.model.parameters())
    patches = (vision.image_size // vision.patch_size) ** 2
    heads = text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // heads
    return Model(
        Tower(
            vision.num_hidden_layers,
            vision.hidden_size,
            vision.intermediate_size,
            patches,
            patches + 1,
            vision.num_channels * vision.patch_size**2 * vision.hidden_size,
        ),
        Decoder(
            text.num_hidden_layers,
            text.hidden_size,
            text.intermediate_size,
            heads * size,
            text.num_key_value_heads * size,
            backbone.model.lm_head.out_features,
            backbone.lean,
        ),
        sum(_linear_weights(backbone.model.model.multi_modal_projector)),
        backbone.image_tokens,
        sum(weight.numel() * weight.element_size() for weight in weights),
        max(weight.element_size() for weight in weights),
    )


def _linear_weights(module: nn.Module) -> list[int]:
    return [layer.weight.numel() for layer in module.modules() if isinstance(layer, nn.Linear)]


def what_trains(backbone: LlavaBackbone, settings: TrainingSettings) -> tuple[Trained, int]:
    """Return which parts settings train, and the bytes of all weights that are trained.

    Raises:
        InputError: a part or a target of adapters is none of the model's.
    """
    model = backbone.model
    model.requires_grad_(settings.lora is None)
    try:
        backbone.freeze(settings.freeze)
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        parts = {name: _trains(getattr(model.model, module)) for name, module in PARTS.items()}
        head = _trains(model.lm_head)
    finally:
        model.requires_grad_(True)
    adapters = _adapters(backbone, settings)
    # Adapters are kept in fp32 whatever the model's type.
    size = sum(weight.numel() * weight.element_size() for weight in trained) + 4 * sum(adapters)
    return Trained(parts["tower"], parts["projector"], parts["language_model"], head, adapters), size


def _trains(module: nn.Module) -> bool:
    return any(weight.requires_grad for weight in module.parameters())


def _adapters(backbone: LlavaBackbone, settings: TrainingSettings) -> Adapters:
    """Count the weights of adapters, r·(inputs + outputs) for each layer, by part; frozen ones are none."""
    if settings.lora is None:
        return Adapters()
    found = dict.fromkeys(PARTS, 0)
    for name in target_layers(backbone, settings.lora):
        layer: Any = backbone.model.get_submodule(name)
        part = next(part for part, module in PARTS.items() if module in name.split("."))
        found[part] += settings.lora.r * (layer.in_features + layer.out_features)
    kept = {part: 0 if part in settings.freeze else count for part, count in found.items()}
    return Adapters(kept["tower"], kept["projector"], kept["language_model"])
