"""The models that are timed: LLaVA with random weights, at the proportions of the 7B models."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from peft import LoraConfig
from torch import nn
from transformers import (
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaImageProcessorPil,
    MistralConfig,
    PreTrainedTokenizerFast,
)

from medpref.backbones.llava import LlavaBackbone
from medpref.backbones.tiny import train_tokenizer
from medpref.pairs.pair import IMAGE_PLACEHOLDER

Training = Literal["full", "lora"]
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<unk>"}


@dataclass(frozen=True, slots=True)
class Size:
    """The shape of a LLaVA: a CLIP tower, a projector, and a Mistral language model.

    Attributes:
        width: of the language model.
        layers: of the language model.
        heads: query heads of the language model.
        groups: key and value heads of the language model.
        mlp: width of the language model's gated MLP.
        vocabulary: how many tokens the tokenizer has, about.
        image: side of an image, in pixels.
        tower_width: width of the tower; its MLP is four times as wide, its heads have 64 channels or fewer.
        tower_layers: layers of the tower.
        patch: side of a patch, in pixels.
        max_length: how many tokens of prompt and response fit.
    """

    width: int
    layers: int
    heads: int
    groups: int
    mlp: int
    vocabulary: int
    image: int
    tower_width: int
    tower_layers: int
    patch: int = 14
    max_length: int = 2048

    @property
    def image_tokens(self) -> int:
        """How many tokens one image takes."""
        return (self.image // self.patch) ** 2


SIZES = {
    # As in Mistral 7B with CLIP-L: four query heads to a group, an MLP 3.5 times as wide, a tower with about
    # 4 % and an LM head with about 2 % of the language model's weights, 576 tokens an image.
    "P": Size(512, 8, 8, 2, 1792, 1024, 336, 128, 5),
    "quick": Size(256, 4, 4, 1, 896, 1024, 168, 64, 3),
    "toy": Size(64, 2, 2, 1, 224, 1024, 56, 32, 2),
}


def make_tokenizer(size: Size, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train a tokenizer on `texts`."""
    return train_tokenizer(texts, size.vocabulary, SPECIAL)


def make_model(size: Size, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlavaForConditionalGeneration:
    """Make a model with random weights, its tower and projector frozen, in training mode.

    The image token gets a bias of −10⁴ in the LM head and so takes no probability: medpref never lets it be
    said, other trainers do, and the losses are to be equal.
    """
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration._from_config(
        _configuration(size, tokenizer), attn_implementation="sdpa"
    )
    projector = model.model.multi_modal_projector
    for layer in (projector.linear_1, projector.linear_2):
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    head = model.lm_head
    head.bias = nn.Parameter(torch.zeros(head.out_features, device=head.weight.device), requires_grad=False)
    head.bias.data[model.config.image_token_index] = -1e4
    model.model.vision_tower.requires_grad_(False)
    projector.requires_grad_(False)
    return model.train()


def _configuration(size: Size, tokenizer: PreTrainedTokenizerFast) -> LlavaConfig:
    text = MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        intermediate_size=size.mlp,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.groups,
        max_position_embeddings=size.max_length,
        # Logits spread by about one nat, and attention by as much: the usual 0.02 leaves both flat.
        initializer_range=size.width**-0.5,
        sliding_window=None,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=size.tower_width,
        intermediate_size=size.tower_width * 4,
        num_hidden_layers=size.tower_layers,
        num_attention_heads=max(1, size.tower_width // 64),
        image_size=size.image,
        patch_size=size.patch,
        projection_dim=size.tower_width,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_PLACEHOLDER),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )


@torch.no_grad()
def move_weights(model: nn.Module, seed: int) -> None:
    """Add noise to what is trained: a policy that equals its reference would make every loss a constant."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        if weight.requires_grad and weight.ndim == 2:
            spread = 0.05 * weight.shape[1] ** -0.5
            weight.add_((torch.randn(weight.shape, generator=generator) * spread).to(weight.device))


@torch.no_grad()
def fill_adapters(model: nn.Module, seed: int) -> None:
    """Draw the trained weights of `model`, its adapters, anew."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3 * weight.shape[1] ** -0.5)


def lora_config(model: LlavaForConditionalGeneration) -> LoraConfig:
    """Return adapters of rank 16 on all linear layers of the language model, the head left out."""
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and ".language_model." in name
    ]
    return LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=names, bias="none")


def make_backbone(
    size: Size, model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast
) -> LlavaBackbone:
    """Wrap a model for medpref."""
    processor = LlavaImageProcessorPil(
        do_pad=True,
        size={"shortest_edge": size.image},
        crop_size={"height": size.image, "width": size.image},
    )
    return LlavaBackbone(model, tokenizer, processor, "mistral-instruct", size.max_length)


def make_encoder(size: Size, tokenizer: PreTrainedTokenizerFast) -> LlavaBackbone:
    """Return a backbone that only turns texts into ids and images into pixels: its weights take no memory."""
    with torch.device("meta"):
        return make_backbone(size, make_model(size, tokenizer, 0), tokenizer)
