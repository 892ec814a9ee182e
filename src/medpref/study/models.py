"""Models as stages ask them: loaded from an earlier stage's folder onto the device that computes fastest."""

from pathlib import Path

import torch

from medpref.backbones import load_backbone
from medpref.backbones.hf import HFBackbone


def load_model(folder: Path) -> HFBackbone:
    """Load the model in a folder, onto the GPU where there is one.

    Training does without: the trainer places what it trains, on one device or spread over several.

    Raises:
        InputError: the folder holds no model that can be read.
    """
    backbone = load_backbone(folder)
    backbone.model.to("cuda" if torch.cuda.is_available() else "cpu")
    return backbone
