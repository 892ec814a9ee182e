"""Small real LLaVA models, made from nothing: the study's two families at a size that two CPU cores train."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaImageProcessorPil,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from medpref.backbones.llava import LlavaBackbone
from medpref.pairs.pair import IMAGE_PLACEHOLDER
from medpref.registry import Registry


class TinyLlavaSettings(BaseModel):
    """The size of a small LLaVA; the defaults have about 250 thousand parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int = 64
    patch_size: int = 8
    width: int = 64
    vision_layers: int = 3
    text_layers: int = 2
    heads: int = 4
    key_value_heads: int = 2
    initializer_range: float = 0.1
    """Standard deviation of the random weights: 0.02, made for wide models, leaves a narrow one deaf."""
    vocabulary: int = 600
    max_length: int = 256


TextFamily = Callable[[dict[str, Any]], Any]
# name → (text configuration, chat template, special tokens by role)
text_families: Registry[tuple[TextFamily, str, dict[str, str]]] = Registry("text family")
text_families.add(
    "mistral",
    (
        lambda shared: MistralConfig(**shared, sliding_window=None),
        "mistral-instruct",
        {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<unk>"},
    ),
)
text_families.add(
    "qwen2",
    (lambda shared: Qwen2Config(**shared), "huatuo", {"eos_token": "<|endoftext|>", "pad_token": "<|pad|>"}),
)


def build_tiny_llava(
    text: str, texts: Iterable[str], settings: TinyLlavaSettings, seed: int
) -> LlavaBackbone:
    """Make an untrained small LLaVA whose tokenizer is trained on `texts`.

    Args:
        text: the language model's family, ``mistral`` or ``qwen2``.
        texts: what the tokenizer learns from: training prompts and answers, never the test's.
        settings: the size.
        seed: of the random weights.
    """
    configure, template, special = text_families[text]
    tokenizer = train_tokenizer(texts, settings.vocabulary, special)
    shared = {
        "vocab_size": len(tokenizer),
        "hidden_size": settings.width,
        "intermediate_size": settings.width * 3,
        "num_hidden_layers": settings.text_layers,
        "num_attention_heads": settings.heads,
        "num_key_value_heads": settings.key_value_heads,
        "max_position_embeddings": settings.max_length,
        "initializer_range": settings.initializer_range,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = CLIPVisionConfig(
        hidden_size=settings.width,
        intermediate_size=settings.width * 3,
        num_hidden_layers=settings.vision_layers,
        num_attention_heads=settings.heads,
        image_size=settings.image_size,
        patch_size=settings.patch_size,
        projection_dim=settings.width,
        hidden_act="gelu",
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=configure(shared),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_PLACEHOLDER),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    for layer in (model.model.multi_modal_projector.linear_1, model.model.multi_modal_projector.linear_2):
        torch.nn.init.normal_(layer.weight, std=settings.initializer_range)
    _place_positions(model)
    processor = LlavaImageProcessorPil(
        do_pad=True,
        size={"shortest_edge": settings.image_size},
        crop_size={"height": settings.image_size, "width": settings.image_size},
    )
    return LlavaBackbone(model.eval(), tokenizer, processor, template, settings.max_length)


def train_tokenizer(texts: Iterable[str], size: int, special: dict[str, str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer: any text can be written with it, words seen often are one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = [*special.values(), "[INST]", "[/INST]", "<|user|>", "<|assistant|>", IMAGE_PLACEHOLDER]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=names,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # A response stands behind a blank, a prompt does not: learn words in both places.
    tokenizer.train_from_iterator((form for text in texts for form in (text, f" {text}")), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@torch.no_grad()
def _place_positions(model: LlavaForConditionalGeneration) -> None:
    """Start the tower's positions from sines and cosines: a small tower does not find places by itself."""
    table = model.model.vision_tower.embeddings.position_embedding.weight
    side = round((len(table) - 1) ** 0.5)
    table[1:] = sincos_2d(side, table.shape[1]).to(table)


def sincos_2d(side: int, width: int) -> Float[Tensor, "patches width"]:
    """Return two-dimensional sine–cosine position codes for a `side` × `side` grid, values in [−1, 1].

    Half of the channels tell the row and half the column, as in MAE (arXiv:2111.06377, appendix A).
    """
    quarter = width // 4
    rate = 1.0 / 100.0 ** (torch.arange(quarter) / quarter)
    angle = torch.arange(side).float()[:, None] * rate
    line = torch.cat([angle.sin(), angle.cos()], dim=1)
    rows = line[:, None].expand(side, side, -1)
    columns = line[None].expand(side, side, -1)
    return torch.cat([rows, columns], dim=-1).reshape(side * side, -1)


@torch.no_grad()
def whiten_patches(backbone: LlavaBackbone, pixels: Float[Tensor, "images channels height width"]) -> None:
    """Start the patch embedding from the principal components of real patches, each with unit variance.

    A random projection of smooth patches carries almost only their mean; whitening lets contrast at lesion
    size through from the first step.
    """
    convolution = backbone.model.model.vision_tower.embeddings.patch_embedding
    patch = convolution.kernel_size[0]
    patches = torch.nn.functional.unfold(pixels, patch, stride=patch).transpose(1, 2).flatten(0, 1).double()
    centred = patches - patches.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    keep = min(convolution.out_channels, int((values > values[-1] * 1e-6).sum()))
    filters = vectors[:, -keep:].T / values[-keep:].sqrt().clamp_min(1e-4)[:, None]
    convolution.weight.zero_()
    convolution.weight[:keep] = (
        filters.flip(0).reshape(keep, *convolution.weight.shape[1:]).to(convolution.weight)
    )
    convolution.weight.mul_(0.25)
