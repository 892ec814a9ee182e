"""A tiny random Gemma 3 with the tokenizer's normaliser, special tokens and chat template of the real one."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    GemmaTokenizer,
)

from medpref.backbones.gemma3 import Gemma3Backbone

TEXTS = (
    "Is there a lesion in the left lung?",
    "Where is the lesion?",
    "Yes, in the upper lobe.",
    "No, the lung is clear.",
    "Describe the image.",
    "user\nmodel\n",
)
# As the published models write it; the words are the format, so they are kept.
TEMPLATE = (
    "{{ bos_token }}"
    "{%- if messages[0]['role'] == 'system' -%}"
    "{%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}"
    "{%- set loop_messages = messages[1:] -%}"
    "{%- else -%}{%- set first_user_prefix = '' -%}{%- set loop_messages = messages -%}{%- endif -%}"
    "{%- for message in loop_messages -%}"
    "{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{ raise_exception('Conversation roles must alternate') }}"
    "{%- endif -%}"
    "{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}"
    "{{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else '') }}"
    "{%- if message['content'] is string -%}{{ message['content'] | trim }}"
    "{%- else -%}{%- for item in message['content'] -%}"
    "{%- if item['type'] == 'image' -%}{{ '<start_of_image>' }}"
    "{%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{ '<end_of_turn>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}"
)
SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
TURNS = ("<start_of_turn>", "<end_of_turn>")
IMAGE = {
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
    "image_token": "<image_soft_token>",
}
NEWLINES = ("\n\n", "\n\n\n", "\n\n\n\n")


def make_tokenizer() -> GemmaTokenizer:
    """Train a tokenizer in which, as in the real one, runs of newlines are tokens of their own."""
    trained = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    trained.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    characters = [*sorted(set("".join(TEXTS)) - {" "}), "▁"]
    names = [*SPECIAL, *TURNS, *IMAGE.values(), *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=len(names) + len(characters) + 20,
        special_tokens=names,
        initial_alphabet=characters,
        show_progress=False,
    )
    trained.train_from_iterator(TEXTS, trainer)
    bpe: Mapping[str, Any] = json.loads(trained.to_str())["model"]
    merges = [tuple(merge) for merge in bpe["merges"]]
    tokenizer = GemmaTokenizer(vocab=bpe["vocab"], merges=merges, **IMAGE)
    tokenizer.add_special_tokens({"additional_special_tokens": list(TURNS)})
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in NEWLINES])
    return tokenizer


def build_tiny_gemma(
    seed: int = 0, *, window: int = 8, max_length: int = 128, std: float = 0.15
) -> Gemma3Backbone:
    """Make a tiny Gemma 3 whose weights are large enough that a wrong mask shows.

    Args:
        seed: of the random weights.
        window: of the layers with a sliding window, in tokens.
        max_length: how many tokens fit.
        std: standard deviation of the weights.
    """
    tokenizer = make_tokenizer()
    images = Gemma3ImageProcessorPil(size={"height": 32, "width": 32})
    processor = Gemma3Processor(images, tokenizer, chat_template=TEMPLATE, image_seq_length=4)
    tokenizer.chat_template = TEMPLATE
    ids = {name: tokenizer.convert_tokens_to_ids(text) for name, text in IMAGE.items()}
    config = Gemma3Config(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "max_position_embeddings": max_length,
            "sliding_window": window,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "vision_use_head": False,
        },
        mm_tokens_per_image=4,
        boi_token_index=ids["boi_token"],
        eoi_token_index=ids["eoi_token"],
        image_token_index=ids["image_token"],
    )
    torch.manual_seed(seed)
    model = Gemma3ForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    randomise(model, seed, std)
    return Gemma3Backbone(model.eval(), processor, max_length)


@torch.no_grad()
def randomise(model: torch.nn.Module, seed: int, std: float) -> None:
    """Draw all weights of two and more axes anew; the library's own are so small that attention is flat."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        if weight.ndim >= 2:
            weight.copy_(torch.randn(weight.shape, generator=generator) * std)
