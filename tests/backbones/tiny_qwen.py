"""Tiny random models of the library's Qwen-VL classes, with a small tokenizer of the real class."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLConfig,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
    Qwen3VLConfig,
    Qwen3VLProcessor,
)

from medpref.backbones.qwen2_vl import Qwen2VLBackbone, Qwen25VLBackbone
from medpref.backbones.qwen3_vl import Qwen3VLBackbone
from medpref.backbones.qwen_vl import QwenVLBackbone
from medpref.pairs.pair import IMAGE_PLACEHOLDER

END, PAD, IMAGE_PAD = "<|im_end|>", "<|endoftext|>", "<|image_pad|>"
TEXTS = (
    "Is there a lesion in the left lung?",
    "Where is the lesion?",
    "Yes, in the upper lobe.",
    "No, the lung is clear.",
    "Describe the image.",
)
SPECIAL = (PAD, "<|im_start|>", END, "<|vision_start|>", "<|vision_end|>", IMAGE_PAD, "<|video_pad|>")

# They write what the published templates write for text and images: a system message of its own in the older
# families, none in the newer one, and images between vision_start and vision_end.
TURNS = (
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<|im_end|>\n' }}"
)
AFTER = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
SYSTEM = (
    "{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
)
WITH_SYSTEM = f"{{% for message in messages %}}{SYSTEM}{TURNS}{{% endfor %}}{AFTER}"
WITHOUT_SYSTEM = f"{{% for message in messages %}}{TURNS}{{% endfor %}}{AFTER}"

ROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 100.0}
TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
VISION: dict[str, Any] = {"depth": 3, "num_heads": 2, "spatial_merge_size": 2, "temporal_patch_size": 2}


@dataclass(frozen=True, slots=True)
class Family:
    """How a tiny model of a family is made."""

    backbone: type[QwenVLBackbone]
    config: type[Any]
    vision: dict[str, Any]
    text: dict[str, Any]
    template: str
    processor: type[Any]


FAMILIES: dict[str, Family] = {
    "qwen2_vl": Family(
        Qwen2VLBackbone,
        Qwen2VLConfig,
        {**VISION, "embed_dim": 24, "hidden_size": 32, "mlp_ratio": 2, "patch_size": 4},
        {**TEXT, "rope_parameters": ROPE},
        WITH_SYSTEM,
        Qwen2VLProcessor,
    ),
    "qwen2_5_vl": Family(
        Qwen25VLBackbone,
        Qwen2_5_VLConfig,
        {
            **VISION,
            "hidden_size": 24,
            "out_hidden_size": 32,
            "intermediate_size": 40,
            "patch_size": 4,
            # Windows of two by two tokens, in all layers but the middle one.
            "window_size": 16,
            "fullatt_block_indexes": [1],
        },
        {**TEXT, "rope_parameters": ROPE},
        WITH_SYSTEM,
        Qwen2_5_VLProcessor,
    ),
    "qwen3_vl": Family(
        Qwen3VLBackbone,
        Qwen3VLConfig,
        {
            **VISION,
            "hidden_size": 24,
            "out_hidden_size": 32,
            "intermediate_size": 40,
            "patch_size": 4,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
        },
        {**TEXT, "head_dim": 16, "rope_parameters": {**ROPE, "mrope_interleaved": True}},
        WITHOUT_SYSTEM,
        Qwen3VLProcessor,
    ),
}


def build_tiny_qwen(
    kind: str, seed: int = 0, *, tied: bool = False, layers: int = 3, max_length: int = 512
) -> QwenVLBackbone:
    """Make an untrained tiny model; its weights are large enough that a wrong mask or position shows.

    Args:
        kind: the `model_type`.
        seed: of the random weights.
        tied: let the LM head be the embeddings, as in the published models of 2 to 4 billion parameters.
        layers: of the decoder.
        max_length: how many tokens of prompt and response fit.
    """
    family = FAMILIES[kind]
    tokenizer = build_tokenizer(family.template)
    ids = tokenizer.convert_tokens_to_ids
    config = family.config(
        vision_config=family.vision,
        text_config={**family.text, "num_hidden_layers": layers, "vocab_size": len(tokenizer)},
        image_token_id=ids(IMAGE_PAD),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=tied,
    )
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = family.backbone.model_class._from_config(config, attn_implementation="sdpa")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            # Norms around one, so that a norm left out shows too.
            parameter.copy_(noise * 0.2 if parameter.ndim > 1 else parameter + noise * 0.1)
    model.generation_config = GenerationConfig(eos_token_id=[ids(END), ids(PAD)], pad_token_id=ids(PAD))
    processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 8 * 8, "longest_edge": 48 * 48}, patch_size=4, merge_size=2
    )
    return family.backbone(model.eval(), tokenizer, processor, max_length)


def build_tokenizer(template: str) -> Qwen2Tokenizer:
    """Train a small tokenizer of the families' class."""
    small = Tokenizer(models.BPE())
    small.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    small.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    small.train_from_iterator([form for text in TEXTS for form in (text, f" {text}")], trainer)
    learned = json.loads(small.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=learned["vocab"],
        merges=[tuple(pair) for pair in learned["merges"]],
        unk_token=None,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=list(SPECIAL),
    )
    tokenizer.chat_template = template
    return tokenizer


def library_processor(backbone: QwenVLBackbone) -> Any:
    """Return the library's processor of a backbone's family; what it does with videos needs torchvision."""
    family: Any = FAMILIES[backbone.model.config.model_type].processor
    without_video = type(family.__name__, (family,), {"check_argument_for_proper_class": lambda *_: None})
    template = backbone.tokenizer.chat_template
    return without_video(
        image_processor=backbone.processor, tokenizer=backbone.tokenizer, chat_template=template
    )


def library_inputs(
    backbone: QwenVLBackbone,
    turns: Sequence[tuple[str, str]],
    images: Sequence[Image.Image],
    answer: str = "",
) -> dict[str, Tensor]:
    """Return what the library's processor makes of a conversation.

    Args:
        backbone: whose tokenizer, template and image processor are used.
        turns: who speaks and what; each ``<image>`` is an image.
        images: in order.
        answer: what follows the prompt.
    """
    processor = library_processor(backbone)
    messages = [{"role": role, "content": _content(text)} for role, text in turns]
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return dict(processor(text=[text + answer], images=list(images) or None, return_tensors="pt"))


def _content(text: str) -> list[dict[str, str]]:
    parts: list[dict[str, str]] = []
    for number, chunk in enumerate(text.split(IMAGE_PLACEHOLDER)):
        parts += [{"type": "image"}] * (number > 0)
        parts += [{"type": "text", "text": chunk}] if chunk else []
    return parts
