"""The start of a small LLaVA: made from nothing, its tower warmed up on balanced phantoms."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Int
from PIL import Image
from pydantic import Field
from torch import Tensor

from medpref.backbones.llava import LlavaBackbone
from medpref.backbones.tiny import TinyLlavaSettings, build_tiny_llava, text_families, whiten_patches
from medpref.phantoms import DEFAULT_CONTRAST, Phantom, generate
from medpref.starts.base import BackboneFamily, StartContext, backbones
from medpref.starts.warmup import WarmupSettings, warm_up

# Warm-up phantoms come from a stream that no split of the data draws from.
WARMUP_STREAM = 99_000


class PhantomWarmup(WarmupSettings):
    """A warm-up on phantoms; `contrast` is that of a lesion, as a share of the full range."""

    contrast: float = Field(DEFAULT_CONTRAST, gt=0, le=1)


class TinyStartSettings(TinyLlavaSettings):
    """A small LLaVA.

    Attributes:
        text: the language model's family, ``mistral`` or ``qwen2``.
        warmup: how the tower is warmed up; without it the tower starts from whitened patches alone.
    """

    text: str = "mistral"
    warmup: PhantomWarmup | None = None


def start_tiny(settings: TinyStartSettings, context: StartContext) -> LlavaBackbone:
    """Build the model, and warm up its tower where the settings say so."""
    size = TinyLlavaSettings.model_validate(settings.model_dump(include=set(TinyLlavaSettings.model_fields)))
    backbone = build_tiny_llava(settings.text, context.texts(), size, context.seed)
    warmup = settings.warmup
    if warmup is None:
        return backbone
    context.expect(warmup.images + warmup.steps)
    made = []
    for index in range(warmup.images):
        made.append(
            generate(WARMUP_STREAM + context.seed, index, size=settings.image_size, contrast=warmup.contrast)
        )
        context.advance(1)
    pixels = torch.stack(
        [backbone.read_image(Image.fromarray(phantom.image))["pixel_values"] for phantom in made]
    )
    whiten_patches(backbone, pixels[:1000])
    masks = torch.from_numpy(np.stack([phantom.mask for phantom in made])).float()
    warm_up(
        backbone,
        pixels,
        attributes(made),
        masks,
        warmup,
        seed=context.seed,
        folder=context.folder,
        advance=context.advance,
    )
    return backbone


def attributes(phantoms: Sequence[Phantom]) -> Mapping[str, Int[Tensor, " images"]]:
    """Return, for each fact, the number of its value among those that occur; None comes first."""
    found = {}
    for name in ("site", "modality", "plane", "count", "size", "side", "vertical", "intensity"):
        values = [getattr(phantom.facts, name) for phantom in phantoms]
        known = {value: n for n, value in enumerate(sorted(set(values), key=lambda v: (v is not None, v)))}
        found[name] = torch.tensor([known[value] for value in values])
    presence = [int(phantom.facts.count > 0) for phantom in phantoms]
    return {**found, "presence": torch.tensor(presence)}


backbones.add(
    "tiny-llava",
    BackboneFamily(
        f"a small LLaVA made from nothing ({', '.join(text_families)} text)", TinyStartSettings, start_tiny
    ),
)
