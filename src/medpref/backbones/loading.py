"""Read a model's folder: weights from safetensors alone, and every tensor has to find its place."""

import json
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from transformers import PreTrainedModel

from medpref.backbones.quantized import quantization_config, settle
from medpref.errors import InputError
from medpref.files import UserPath

SIDECAR = "medpref.json"


class LoadSettings(BaseModel):
    """How a folder is loaded.

    Attributes:
        template: the chat template's name, for families that have named ones; a folder that medpref wrote
            knows its own.
        max_length: how many tokens of prompt (images included) and response fit; by default what the folder
            says.
        dtype: of the weights; by default as they were saved.
        quantize: load the language model's weights in 4 bits, which needs bitsandbytes.
        adapter: a folder with LoRA adapters in peft's layout. They are merged into the weights; into weights
            in 4 bits they are not, and stay beside them.
        vision_tower: for checkpoints in the original LLaVA layout: the tower inside the checkpoint, or the
            folder of another one.
        min_pixels: the fewest pixels that an image is shown with, for families that see images of any size.
        max_pixels: the most.
        trust_remote_code: let the folder's own code run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    template: str | None = None
    max_length: int | None = Field(None, ge=1)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantize: Literal["4bit"] | None = None
    adapter: UserPath | None = None
    vision_tower: Literal["embedded"] | UserPath = "embedded"
    min_pixels: int | None = Field(None, ge=1)
    max_pixels: int | None = Field(None, ge=1)
    trust_remote_code: bool = False


def read_config(folder: Path) -> dict[str, Any]:
    """Return a folder's ``config.json``.

    Raises:
        InputError: there is none, or it is no JSON object.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise InputError("this folder holds no model (no config.json)", where=str(folder))
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"no JSON: {error}", where=str(path)) from None
    if not isinstance(config, dict):
        raise InputError("not a JSON object", where=str(path))
    return config


def read_sidecar(folder: Path) -> dict[str, Any]:
    """Return what medpref noted beside a model that it saved; empty for folders of others."""
    path = folder / SIDECAR
    side: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return side


def read_model(
    model_class: Any,
    folder: Path,
    settings: LoadSettings,
    *,
    weights: bool = True,
    attention: str | None = "sdpa",
) -> Any:
    """Read a model; every tensor must find its place.

    Args:
        model_class: a class of transformers with `from_pretrained`.
        folder: in the Hugging Face layout.
        settings: type of the weights, quantisation, and whether the folder's code may run.
        weights: otherwise the model has shapes and no weights (on the device ``meta``).
        attention: Boolean masks are exact under sdpa and silently wrong under eager attention; with None the
            library chooses, for models that are given no such masks.

    Raises:
        InputError: a tensor is missing, left over or of the wrong shape, or files cannot be read.
    """
    if not weights:
        return _outline(model_class, folder, settings, attention)
    try:
        model, report = model_class.from_pretrained(
            folder,
            dtype=settings.dtype,
            attn_implementation=attention,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=settings.trust_remote_code,
            output_loading_info=True,
            **_quantization(model_class, folder, settings),
            # So that they are told in the report, like the others, instead of raised one by one.
            ignore_mismatched_sizes=True,
        )
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"the weights cannot be read: {error}", where=str(folder)) from None
    if settings.quantize is not None:
        settle(model)
    wrong = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
    if wrong:
        raise InputError(
            f"{len(wrong)} tensors are missing, left over or of the wrong shape, such as {wrong[0]}",
            where=str(folder),
            remedy="The checkpoint does not belong to this architecture; convert it first.",
        )
    return model


def _quantization(model_class: Any, folder: Path, settings: LoadSettings) -> dict[str, Any]:
    if settings.quantize is None:
        return {}
    outline: Any = _outline(model_class, folder, settings, None)
    saved = outline.config.dtype or torch.float32
    dtype = saved if settings.dtype == "auto" else getattr(torch, settings.dtype)
    return {"quantization_config": quantization_config(outline, dtype)}


def _outline(
    model_class: Any, folder: Path, settings: LoadSettings, attention: str | None = "sdpa"
) -> PreTrainedModel:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=settings.trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise InputError(f"the configuration cannot be read: {error}", where=str(folder)) from None
    make = getattr(model_class, "_from_config", None) or model_class.from_config
    with torch.device("meta"):
        return make(config, attn_implementation=attention)
