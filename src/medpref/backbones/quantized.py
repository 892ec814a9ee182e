"""Weights in 4 bits (NF4, QLoRA, arXiv:2305.14314), for the language model alone, through bitsandbytes."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig

from medpref.errors import InputError

PACKAGE = "bitsandbytes"


def quantization_config(model: nn.Module, dtype: torch.dtype) -> BitsAndBytesConfig:
    """Return how to load a model in 4 bits: all linear layers of the language model but its head.

    The vision tower and the projector stay as they are: they are small, and what they see is at stake.

    Args:
        model: the same model, on any device, with or without weights.
        dtype: what the layers compute in.

    Raises:
        InputError: bitsandbytes is not installed, or the model has no part called language_model.
    """
    if find_spec(PACKAGE) is None:
        raise InputError(
            "quantize: 4bit needs bitsandbytes, which is not installed",
            remedy="pip install bitsandbytes, or leave quantize out.",
        )
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    kept = [name for name in linear if not _in_language_model(name)]
    if len(kept) == len(linear):
        raise InputError("quantize: 4bit finds no language_model in this model")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=kept,
    )


def _in_language_model(name: str) -> bool:
    parts: Sequence[str] = name.split(".")
    return "language_model" in parts and "lm_head" not in parts


def settle(model: nn.Module) -> None:
    """Make a model that was just loaded in 4 bits fit for training adapters, in place.

    Its own weights stop training. On some CPUs bitsandbytes repacks weights at the first forward pass without
    gradients, and from then on lets no gradient through; it is told not to.
    """
    model.requires_grad_(False)
    for layer in _rounded(model):
        layer.support_avx512bf16_for_cpu = False


def is_quantized(model: nn.Module) -> bool:
    """Tell whether some layer's weights are in 4 bits."""
    return any(True for _ in _rounded(model))


def _rounded(model: nn.Module) -> Iterator[Any]:
    # By name: bitsandbytes need not be installed.
    return (module for module in model.modules() if type(module).__name__ == "Linear4bit")


def dequantize(model: Any) -> None:
    """Take all layers in 4 bits back to plain ones in the type that they compute in, in place.

    The plain model computes the same as before to rounding.
    """
    model.dequantize(dtype=next(_rounded(model)).compute_dtype)
    model.requires_grad_(True)
