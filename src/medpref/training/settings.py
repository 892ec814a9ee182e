"""How a run trains."""

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["fp32", "bf16"]
Advance = Callable[[int], None]
"""Called with the amount of work just done, for progress."""


class TrainingSettings(BaseModel):
    """Settings that every objective shares. Schedules count steps, never seconds: seconds don't reproduce.

    Attributes:
        steps: optimizer steps.
        images_per_step: how many groups (an image with its pairs) one forward pass sees.
        pairs_per_image: the most pairs of one image in one group.
        learning_rate: the peak of the cosine schedule.
        tower_factor: multiplies the learning rate of the vision tower.
        warmup_share: the share of steps during which the learning rate climbs.
        weight_decay: of AdamW.
        max_grad_norm: gradients are clipped to this norm.
        freeze: parts that stay as they are: tower, projector, language_model.
        accumulate: how many forward passes share one optimizer step.
        precision: of the forward passes, the reference's included: fp32, or bf16 autocast.
        log_every: steps between lines of the training log.
        checkpoint_every: steps between checkpoints that a killed run goes on from, rounded up to a multiple
            of `log_every`: means that are not logged yet would be lost with the process.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(100, ge=1)
    images_per_step: int = Field(16, ge=1)
    pairs_per_image: int = Field(4, ge=1)
    learning_rate: float = Field(1e-4, gt=0)
    tower_factor: float = Field(1.0, ge=0)
    warmup_share: float = Field(0.03, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    freeze: tuple[str, ...] = ()
    accumulate: int = Field(1, ge=1)
    precision: Precision = "fp32"
    log_every: int = Field(10, ge=1)
    checkpoint_every: int = Field(50, ge=1)

    @property
    def save_steps(self) -> int:
        """The steps between checkpoints, a multiple of `log_every`."""
        return -(-self.checkpoint_every // self.log_every) * self.log_every
