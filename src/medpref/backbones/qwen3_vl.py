"""Qwen3-VL: states of earlier layers of the tower enter the first decoder layers too."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Qwen3VLForConditionalGeneration

from medpref.backbones.base import ImageTensors
from medpref.backbones.families import ModelFamily, model_families
from medpref.backbones.loading import LoadSettings
from medpref.backbones.qwen_folder import read_folder
from medpref.backbones.qwen_vl import QwenVLBackbone


class Qwen3VLBackbone(QwenVLBackbone):
    """A `Qwen3VLForConditionalGeneration` with its tokenizer and image processor.

    The states of earlier layers have mergers of their own; what these give is added to the decoder's states
    at the image's tokens behind its first layers (DeepStack, arXiv:2406.04334).
    """

    model_class = Qwen3VLForConditionalGeneration
    parts = MappingProxyType(
        {
            "tower": ("model.visual.patch_embed", "model.visual.pos_embed", "model.visual.blocks"),
            "projector": ("model.visual.merger", "model.visual.deepstack_merger_list"),
            "language_model": ("model.language_model",),
        }
    )

    def _mergers(self) -> list[nn.Module]:
        visual = self.model.model.visual
        return [visual.merger, *visual.deepstack_merger_list]

    def _by_name(self, states: Sequence[Tensor]) -> dict[str, Tensor]:
        return {"patches": states[0], "deepstack": torch.stack(list(states[1:]))}

    def _merge(self, states: Mapping[str, Tensor]) -> dict[str, Tensor]:
        visual = self.model.model.visual
        earlier = zip(visual.deepstack_merger_list, states["deepstack"], strict=True)
        return {
            "tokens": visual.merger(states["patches"]),
            "deepstack": torch.stack([merger(state) for merger, state in earlier]),
        }

    def _beside_tokens(self, is_image: Tensor, shown: Sequence[ImageTensors]) -> dict[str, Any]:
        earlier = torch.cat([image["deepstack"] for image in shown], dim=-2)
        return {"visual_pos_masks": is_image, "deepstack_visual_embeds": list(earlier)}


def load_qwen3_vl(folder: Path, settings: LoadSettings, *, weights: bool = True) -> QwenVLBackbone:
    """Load a Qwen3-VL folder. Raises as `read_folder` does."""
    kind = Qwen3VLBackbone
    return kind(*read_folder(kind.model_class, folder, settings, weights=weights))


model_families.add("qwen3-vl", ModelFamily("Qwen3-VL", load_qwen3_vl, ("qwen3_vl",)))
