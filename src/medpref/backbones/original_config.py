"""Configurations of original LLaVA checkpoints (LLaVA-Med v1.5, HuatuoGPT-Vision) as plain LLaVA ones."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medpref.backbones.original_names import EMBEDDING
from medpref.errors import InputError

Shapes = Mapping[str, tuple[int, ...]]
"""Part name → shape of the tensor."""
ORIGINAL_CONFIG = "original_config"
"""The key under which a plain folder keeps the authors' configuration, so that it can be written again."""
HEAD_WIDTH = 64
"""Of CLIP's attention heads, in all of its sizes."""


@dataclass(frozen=True, slots=True)
class OriginalFamily:
    """What the authors' code takes for granted of a model type.

    Attributes:
        architecture: the authors' class.
        text_type: the language model's ``model_type`` in transformers.
        template: the chat template's name.
        text_keys: of the configuration that the language model's numbers depend on. They are never filled in
            from a class's defaults: MistralConfig's have a sliding window that LLaVA-Med does not.
    """

    architecture: str
    text_type: str
    template: str
    text_keys: tuple[str, ...]


_SHARED_KEYS = (
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_theta",
    "sliding_window",
    "vocab_size",
)
FAMILIES: Mapping[str, OriginalFamily] = {
    "llava_mistral": OriginalFamily("LlavaMistralForCausalLM", "mistral", "mistral-instruct", _SHARED_KEYS),
    "llava_qwen2": OriginalFamily(
        "LlavaQwen2ForCausalLM", "qwen2", "huatuo", (*_SHARED_KEYS, "max_window_layers", "use_sliding_window")
    ),
}
# Copied where the source has them; without them the numbers are the same.
_OPTIONAL_KEYS = (
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "head_dim",
    "initializer_range",
    "pad_token_id",
    "rope_scaling",
    "use_cache",
)
_ABSENT = object()
# Key → (the one value that this architecture has, what the authors' code takes where the key is absent).
_WANTED: Mapping[str, tuple[Any, Any]] = {
    "mm_use_im_start_end": (False, False),
    "mm_use_im_patch_token": (False, True),
    "mm_projector_type": ("mlp2x_gelu", "linear"),
    "mm_vision_select_feature": ("patch", "patch"),
    "mm_patch_merge_type": ("flat", "flat"),
    "image_aspect_ratio": ("pad", None),
    "tie_word_embeddings": (False, False),
}


def family_of_config(config: Mapping[str, Any], where: str) -> OriginalFamily:
    """Return the family of an original configuration, once it is known to be one that can be converted.

    Raises:
        InputError: the model type or a setting is another one.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise InputError(
            f"model_type {kind!r} is not of an original LLaVA checkpoint",
            where=where,
            remedy=f"Only these can be converted: {', '.join(FAMILIES)}.",
        )
    for key, (wanted, absent) in _WANTED.items():
        value = config.get(key, absent)
        if value != wanted:
            said = f"{key} is {value!r}" if key in config else f"{key} is not set, which means {absent!r}"
            raise InputError(
                f"{said}; only {wanted!r} can be converted",
                where=where,
                remedy="The plain LLaVA architecture would give other numbers.",
            )
    layer = config.get("mm_vision_select_layer")
    if not isinstance(layer, int):
        raise InputError(f"mm_vision_select_layer is {layer!r}, not a layer's number", where=where)
    return FAMILIES[kind]


def plain_config(
    config: Mapping[str, Any], tower: Mapping[str, Any], image_token: int, rows: int, extra: int, where: str
) -> dict[str, Any]:
    """Return the ``config.json`` of the plain folder.

    Args:
        config: the original one.
        tower: what `tower_config` returned.
        image_token: the id of ``<image>``.
        rows: of the embedding.
        extra: rows that come on top for ``<image>``.
        where: for messages.

    Raises:
        InputError: the configuration lacks a key that the language model depends on, or another vocabulary.
    """
    family = family_of_config(config, where)
    if config.get("vocab_size") != rows:
        raise InputError(
            f"vocab_size is {config.get('vocab_size')}, the embedding has {rows} rows", where=where
        )
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "image_token_index": image_token,
        "image_seq_length": (tower["image_size"] // tower["patch_size"]) ** 2,
        "vision_feature_layer": config["mm_vision_select_layer"],
        "vision_feature_select_strategy": "default",
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": True,
        "tie_word_embeddings": False,
        "torch_dtype": config.get("torch_dtype") or config.get("dtype"),
        "text_config": {**text_config(config, family, where), "vocab_size": rows + extra},
        "vision_config": dict(tower),
        ORIGINAL_CONFIG: dict(config),
    }


def text_config(config: Mapping[str, Any], family: OriginalFamily, where: str) -> dict[str, Any]:
    """Return the language model's part of an original configuration.

    Raises:
        InputError: keys that it depends on are missing.
    """
    flat = dict(config)
    rope = config.get("rope_parameters")
    if isinstance(rope, dict):
        flat.setdefault("rope_theta", rope.get("rope_theta"))
        scaled = rope.get("rope_type", "default") != "default"
        flat.setdefault(
            "rope_scaling", {k: v for k, v in rope.items() if k != "rope_theta"} if scaled else None
        )
    missing = [key for key in family.text_keys if flat.get(key, _ABSENT) is _ABSENT]
    if missing:
        raise InputError(
            f"the configuration lacks {', '.join(missing)}",
            where=where,
            remedy="A default could be wrong; add what the model was trained with to config.json.",
        )
    keys = [*family.text_keys, *(key for key in _OPTIONAL_KEYS if key in flat)]
    return {
        "model_type": family.text_type,
        "tie_word_embeddings": False,
        **{key: flat[key] for key in sorted(keys)},
    }


def tower_config(shapes: Shapes, described: Mapping[str, Any] | None, where: str) -> dict[str, Any]:
    """Return a CLIP tower's configuration: sizes as its tensors have them.

    Args:
        shapes: of all tensors.
        described: the ``vision_config`` that comes with the tower, where there is one: it alone knows the
            number of heads and the activation. Without one they are CLIP's: 64 channels a head, quick GELU.
        where: for messages.

    Raises:
        InputError: there is no tower among the tensors, or the sizes do not fit together.
    """
    try:
        width, channels, patch, _ = shapes["tower.embeddings.patch_embedding.weight"]
        positions = shapes["tower.embeddings.position_embedding.weight"][0]
        inner = shapes["tower.encoder.layers.0.mlp.fc1.weight"][0]
    except (KeyError, ValueError):
        raise InputError(
            "the checkpoint holds no CLIP tower",
            where=where,
            remedy="Name the tower's folder with --vision-tower.",
        ) from None
    side = round((positions - 1) ** 0.5)
    described = described or {}
    heads = described.get("num_attention_heads") or width // HEAD_WIDTH
    if side**2 != positions - 1 or not heads or width % heads:
        raise InputError(
            f"a tower {width} wide with {positions} positions is not square, or has no heads of {HEAD_WIDTH}",
            where=where,
            remedy="Put the tower's vision_config into config.json.",
        )
    return {
        "model_type": "clip_vision_model",
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": 1 + max(int(n) for n in _layer_numbers(shapes)),
        "num_attention_heads": heads,
        "num_channels": channels,
        "image_size": side * patch,
        "patch_size": patch,
        "hidden_act": described.get("hidden_act", "quick_gelu"),
        "layer_norm_eps": described.get("layer_norm_eps", 1e-5),
        "attention_dropout": described.get("attention_dropout", 0.0),
    }


def _layer_numbers(shapes: Shapes) -> set[str]:
    found = (re.match(r"tower\.encoder\.layers\.(\d+)\.", name) for name in shapes)
    return {match[1] for match in found if match}


def image_row(shapes: Shapes, vocabulary: int, known: int | None, where: str) -> tuple[int, int]:
    """Return the id of ``<image>`` and how many rows the embedding needs more for it.

    Args:
        shapes: of all tensors.
        vocabulary: how many tokens the tokenizer has.
        known: the id of ``<image>``, if the tokenizer has one.
        where: for messages.

    Raises:
        InputError: the tokenizer has more tokens than the embedding has rows, or there is no embedding.
    """
    if EMBEDDING not in shapes:
        raise InputError("the checkpoint holds no embed_tokens.weight", where=where)
    rows = shapes[EMBEDDING][0]
    if vocabulary > rows:
        raise InputError(
            f"the tokenizer has {vocabulary} tokens, the embedding {rows} rows",
            where=where,
            remedy="Tokenizer and weights do not belong together.",
        )
    token = vocabulary if known is None else known
    return token, max(0, token + 1 - rows)


def text_limit_of(config: Mapping[str, Any]) -> int | None:
    """Return how many tokens the authors' code feeds, if the configuration says so."""
    limit = config.get("tokenizer_model_max_length")
    return limit if isinstance(limit, int) else None
