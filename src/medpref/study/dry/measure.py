"""A model's sizes, read off its modules and their weights' shapes, with weights or without."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from PIL import Image
from torch import nn

from medpref.backbones.base import Size
from medpref.backbones.hf import HFBackbone
from medpref.errors import InputError
from medpref.pairs.pair import IMAGE_PLACEHOLDER
from medpref.study.dry.sizes import Decoder, Model, Tower

USUAL_SIZE: Size = (512, 512)
"""An image's width and height in pixels where nothing is known of the images."""


def measure(backbone: HFBackbone, sizes: Sequence[Size] = ()) -> Model:
    """Return a model's sizes.

    Args:
        backbone: the model.
        sizes: of the images it will see, in pixels; where the number of tokens depends on them, means over
            these images are taken.

    Raises:
        InputError: the model's parts are not known, so that nothing can be said of its cost.
    """
    lacking = {"tower", "projector", "language_model"} - backbone.parts.keys()
    if lacking:
        raise InputError(f"the cost of {type(backbone.model).__name__} cannot be planned: no {min(lacking)}")
    chosen = list(sizes or [USUAL_SIZE]) if backbone.sizes_matter else [USUAL_SIZE]
    weights = list(backbone.model.parameters())
    projector = [weight for module in _modules(backbone, "projector") for weight in module.parameters()]
    return Model(
        _tower(backbone, chosen),
        _decoder(backbone),
        sum(weight.numel() for weight in projector if weight.ndim > 1),
        fmean(_image_tokens(backbone, size) for size in chosen),
        sum(weight.numel() * weight.element_size() for weight in weights),
        max(weight.element_size() for weight in weights),
    )


def _modules(backbone: HFBackbone, part: str) -> list[nn.Module]:
    return [backbone.model.get_submodule(name) for name in backbone.parts[part]]


def _image_tokens(backbone: HFBackbone, size: Size) -> int:
    return backbone.prompt_ids(IMAGE_PLACEHOLDER, [size]).count(backbone.image_token)


def _tower(backbone: HFBackbone, sizes: Sequence[Size]) -> Tower:
    modules = _modules(backbone, "tower")
    inside = [module for part in modules for module in part.modules()]
    embedding = next(module for module in inside if isinstance(module, nn.Conv2d | nn.Conv3d))
    blocks = max((module for module in inside if isinstance(module, nn.ModuleList)), key=len)
    linear = {name: m.weight for name, m in blocks[0].named_modules() if isinstance(m, nn.Linear)}
    # Each patch is what one output of the embedding is multiplied with.
    values = embedding.weight[0].numel()
    patches = fmean(
        backbone.read_image(Image.new("RGB", size))["pixel_values"].numel() / values for size in sizes
    )
    class_token = any(name.endswith("class_embedding") for m in modules for name, _ in m.named_parameters())
    return Tower(
        layers=len(blocks),
        width=embedding.out_channels,
        inner=max(max(weight.shape) for name, weight in linear.items() if "qkv" not in name),
        patches=patches,
        tokens=patches + class_token,
        patch_weights=embedding.weight.numel(),
        layer_weights=sum(weight.numel() for weight in linear.values()),
    )


def _decoder(backbone: HFBackbone) -> Decoder:
    text: Any = backbone.model.config.get_text_config()
    head: Any = backbone.model.get_output_embeddings()
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return Decoder(
        text.num_hidden_layers,
        text.hidden_size,
        text.intermediate_size,
        text.num_attention_heads * size,
        text.num_key_value_heads * size,
        head.weight.shape[0],
        bool(getattr(backbone, "lean", False)),
    )
