"""Teach a small vision tower to see before language comes in: attribute heads and a dense lesion map.

A real VLM's tower has been pre-trained on millions of images. A small one that is made on the spot gets the
nearest thing that fits in a minute: supervised attributes of balanced images, and where the lesions lie.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset
from transformers import PrinterCallback, Trainer

from medpref.backbones.llava import LlavaBackbone
from medpref.training.arguments import last_checkpoint, step_progress, training_arguments
from medpref.training.settings import Advance, TrainingSettings


class WarmupSettings(BaseModel):
    """How the tower is warmed up.

    Attributes:
        images: balanced images to learn from.
        steps: optimizer steps.
        batch: images a step.
        learning_rate: the peak of the cosine schedule.
        map_weight: weight of the lesion map's loss beside the attributes'.
        map_cells: each patch's map has this many cells a side.
        checkpoint_every: steps between checkpoints that a killed run goes on from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: int = Field(4000, ge=1)
    steps: int = Field(750, ge=1)
    batch: int = Field(24, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    map_weight: float = Field(4.0, ge=0)
    map_cells: int = Field(2, ge=1)
    checkpoint_every: int = Field(250, ge=1)


class TowerWithHeads(nn.Module):
    """The vision tower under heads that are thrown away afterwards.

    Args:
        tower: a CLIP vision tower; its last hidden states are read.
        classes: for each attribute, how many values it has.
        map_cells: cells a side of each patch's lesion map.
        map_weight: weight of the map's loss.
    """

    def __init__(self, tower: Any, classes: Mapping[str, int], map_cells: int, map_weight: float) -> None:
        super().__init__()
        width = tower.config.hidden_size
        self.tower = tower
        self.norm = nn.LayerNorm(width)
        self.look = nn.Linear(width, len(classes))
        self.heads = nn.ModuleList(nn.Linear(width, count) for count in classes.values())
        self.map = nn.Linear(width, map_cells**2)
        self.map_weight = map_weight

    def forward(
        self,
        pixels: Float[Tensor, "images channels height width"],
        labels: Int[Tensor, "images attributes"],
        maps: Float[Tensor, "images patches cells"],
    ) -> dict[str, Tensor]:
        """Return the loss, in nats: the attributes' mean cross-entropy and the weighted map loss."""
        states = self.norm(self.tower(pixels, output_hidden_states=True).hidden_states[-1][:, 1:])
        attention = self.look(states).softmax(dim=1)
        pooled = torch.einsum("npa,npw->anw", attention, states)
        losses = [
            functional.cross_entropy(head(view), labels[:, number])
            for number, (head, view) in enumerate(zip(self.heads, pooled, strict=True))
        ]
        dense = functional.binary_cross_entropy_with_logits(self.map(states), maps)
        return {"loss": torch.stack(losses).mean() + self.map_weight * dense}


def _collate(rows: list[tuple[Tensor, ...]]) -> dict[str, Tensor]:
    pixels, labels, maps = zip(*rows, strict=True)
    return {"pixels": torch.stack(pixels), "labels": torch.stack(labels), "maps": torch.stack(maps)}


def warm_up(
    backbone: LlavaBackbone,
    pixels: Float[Tensor, "images channels height width"],
    labels: Mapping[str, Int[Tensor, " images"]],
    masks: Float[Tensor, "images height width"],
    settings: WarmupSettings,
    *,
    seed: int,
    folder: Path,
    advance: Advance = lambda _: None,
) -> None:
    """Train the backbone's vision tower in place.

    Args:
        backbone: whose tower is trained.
        pixels: images as the tower takes them.
        labels: for each attribute, the class of each image, from 0.
        masks: 1 where the lesion is.
        settings: steps and learning rate.
        seed: of the heads' weights and the order of the images.
        folder: where checkpoints go; a run that finds one there goes on from it.
        advance: called with 1 after each step.
    """
    torch.manual_seed(seed)
    tower = backbone.model.model.vision_tower
    classes = {name: int(values.max()) + 1 for name, values in labels.items()}
    model = TowerWithHeads(tower, classes, settings.map_cells, settings.map_weight).train()
    patch = tower.config.patch_size // settings.map_cells
    maps = patch_maps(masks, patch, settings.map_cells)
    training = TrainingSettings(
        steps=settings.steps,
        images_per_step=settings.batch,
        learning_rate=settings.learning_rate,
        checkpoint_every=settings.checkpoint_every,
        log_every=settings.checkpoint_every,
        warmup_share=0.05,
    )
    trainer = Trainer(
        model=model,
        args=training_arguments(training, seed, folder),
        train_dataset=TensorDataset(pixels, torch.stack(list(labels.values()), dim=1), maps),
        data_collator=_collate,
        callbacks=step_progress(advance),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    tower.eval()


def patch_maps(
    masks: Float[Tensor, "images height width"], cell: int, cells: int
) -> Float[Tensor, "images patches cells"]:
    """Return the share of lesion in each of a patch's `cells` × `cells` cells of `cell` × `cell` pixels."""
    shares = functional.avg_pool2d(masks[:, None], cell)
    return functional.unfold(shares, cells, stride=cells).transpose(1, 2)
