"""Qwen2-VL and Qwen2.5-VL; Lingshu and HuatuoGPT-Vision-Qwen2.5VL are such models."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2VLForConditionalGeneration

from medpref.backbones.families import ModelFamily, model_families
from medpref.backbones.loading import LoadSettings, read_config
from medpref.backbones.qwen_folder import read_folder
from medpref.backbones.qwen_vl import QwenVLBackbone


class Qwen2VLBackbone(QwenVLBackbone):
    """A `Qwen2VLForConditionalGeneration` with its tokenizer and image processor."""

    model_class = Qwen2VLForConditionalGeneration


class Qwen25VLBackbone(QwenVLBackbone):
    """A `Qwen2_5_VLForConditionalGeneration` with its tokenizer and image processor."""

    model_class = Qwen2_5_VLForConditionalGeneration

    def _ordered(
        self, states: Sequence[Float[Tensor, "patches width"]], grids: Int[Tensor, "images 3"]
    ) -> Sequence[Float[Tensor, "patches width"]]:
        """Bring patches back from the order of the attention's windows."""
        visual = self.model.model.visual
        merge = visual.spatial_merge_size
        window = visual.window_size // merge // visual.patch_size
        back = torch.cat(_places_in_windows(grids, merge, window)).to(states[0].device)
        return [_in_units(state, merge**2)[back].flatten(0, 1) for state in states]


def _places_in_windows(grids: Int[Tensor, "images 3"], merge: int, window: int) -> list[Tensor]:
    """Return for each image's tokens, row by row, where the tower put them: window by window."""
    places, start = [], 0
    for _, height, width in grids.tolist():
        row = torch.arange(height // merge)[:, None] // window
        column = torch.arange(width // merge) // window
        number = row * (width // merge // window + 1) + column
        order = number.flatten().argsort(stable=True)
        places.append(order.argsort() + start)
        start += len(order)
    return places


def _in_units(state: Float[Tensor, "patches width"], unit: int) -> Float[Tensor, "tokens unit width"]:
    return state.view(-1, unit, state.shape[-1])


KINDS: Mapping[str, type[QwenVLBackbone]] = {"qwen2_vl": Qwen2VLBackbone, "qwen2_5_vl": Qwen25VLBackbone}


def load_qwen2_vl(folder: Path, settings: LoadSettings, *, weights: bool = True) -> QwenVLBackbone:
    """Load a Qwen2-VL or Qwen2.5-VL folder. Raises as `read_folder` does."""
    kind = KINDS[read_config(folder)["model_type"]]
    return kind(*read_folder(kind.model_class, folder, settings, weights=weights))


model_families.add(
    "qwen-vl",
    ModelFamily(
        "Qwen2-VL and Qwen2.5-VL, such as Lingshu and HuatuoGPT-Vision-Qwen2.5VL",
        load_qwen2_vl,
        tuple(KINDS),
    ),
)
