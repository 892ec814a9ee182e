"""Which family a folder's model belongs to: looked up once, by its ``model_type``."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medpref.backbones.adapters import attach_adapter, merge_lora
from medpref.backbones.hf import HFBackbone
from medpref.backbones.loading import LoadSettings, read_config
from medpref.errors import InputError
from medpref.registry import Registry


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """How folders of one family are read.

    Attributes:
        summary: one line for listings.
        load: ``load(folder, settings, weights=True)`` reads a folder; without weights the model has shapes
            only.
        model_types: the ``model_type`` of ``config.json`` that belong to the family.
    """

    summary: str
    load: Callable[..., HFBackbone]
    model_types: tuple[str, ...] = ()


model_families: Registry[ModelFamily] = Registry("model family")
FALLBACK = "any"
"""The family that takes all types that no other one names."""


def family_of(folder: Path) -> str:
    """Return the name of the family that a folder's model belongs to.

    Raises:
        InputError: the folder holds no model, or it names no type.
    """
    kind = read_config(folder).get("model_type")
    if not isinstance(kind, str):
        raise InputError("config.json names no model_type", where=str(folder))
    for name in model_families:
        if kind in model_families[name].model_types:
            return name
    return FALLBACK


def load_backbone(folder: Path, *, weights: bool = True, **settings: Any) -> HFBackbone:
    """Load the model in a folder, whatever its family.

    Args:
        folder: in the Hugging Face layout, or an original LLaVA-Med or HuatuoGPT-Vision checkpoint.
        weights: otherwise the model has shapes and no weights, for planning.
        settings: of `LoadSettings`.

    Raises:
        InputError: the folder holds no model that can be read, or a setting is wrong.
    """
    try:
        chosen = LoadSettings.model_validate(settings)
    except ValidationError as error:
        raise InputError(str(error), where="load settings") from None
    backbone = model_families[family_of(folder)].load(folder, chosen, weights=weights)
    if chosen.adapter is not None and weights:
        attach_adapter(backbone, chosen.adapter)
        if chosen.quantize is None:
            merge_lora(backbone)
    return backbone
