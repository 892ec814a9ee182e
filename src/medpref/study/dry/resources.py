"""What a study takes of disks and GPUs."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from medpref.errors import InputError, did_you_mean
from medpref.study.dry.costs import StagePlan

PEAKS: Mapping[str, float] = {
    "V100": 125e12,
    "A100": 312e12,
    "L40S": 362e12,
    "H100": 989e12,
    "H200": 989e12,
    "B200": 2250e12,
    "MI300X": 1307e12,
}
"""Dense bf16 (V100: fp16) operations a second on matrix units, by the makers' data sheets."""
UTILISATION = 0.35
"""The share of the peak that trainings of this kind usually reach; nothing here was measured for you."""


class Disk(NamedTuple):
    """Bytes on the disk.

    Attributes:
        models: all models that are kept: starts, SFT models and candidates.
        checkpoints: of trainings while they run, those side by side together.
    """

    models: float
    checkpoints: float

    @property
    def total(self) -> float:
        """The most that stands there at once."""
        return self.models + self.checkpoints


def plan_disk(stages: Iterable[StagePlan], starts: int, side_by_side: int) -> Disk:
    """Return what models and checkpoints take; images, logs and caches of features come on top.

    Args:
        stages: all that are planned.
        starts: how many of a backbone there are, one for each seed.
        side_by_side: trainings at a time.
    """
    trained = [stage for stage in stages if stage.work == "train"]
    weights = {stage.backbone: stage.memory.weights for stage in trained}
    models = sum(stage.runs * stage.memory.weights for stage in trained) + starts * sum(weights.values())
    # A checkpoint holds the weights and the optimizer's two means; the next is written before the last goes.
    largest = max((stage.memory.weights + stage.memory.optimizer for stage in trained), default=0.0)
    runs = sum(stage.runs for stage in trained)
    return Disk(models, 2 * largest * min(side_by_side, runs))


def gpu_hours(flops: float, gpu: str, utilisation: float = UTILISATION) -> float:
    """Return how long one GPU takes at a share of its peak, in hours.

    Raises:
        InputError: the GPU is not known.
    """
    if gpu not in PEAKS:
        raise InputError(f"there is no peak known of the GPU {gpu!r}", remedy=did_you_mean(gpu, PEAKS))
    return flops / (PEAKS[gpu] * utilisation) / 3600
