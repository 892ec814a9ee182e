"""Train a tiny model on uneven groups: started by tests, as one process or as several.

    python run_processes.py FOLDER SETTINGS [STEP]
    python -m torch.distributed.run --nproc_per_node 2 run_processes.py FOLDER SETTINGS [STEP]

SETTINGS is the JSON of training settings. The first process writes the log and the weights into FOLDER. With
a STEP, the run ends there as if it had been killed; the next one goes on from its last checkpoint.
"""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from PIL import Image

from medpref.backbones.tiny import TinyLlavaSettings, build_tiny_llava
from medpref.objectives import objectives
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.scoring.scorer import Scorer
from medpref.training.arguments import last_checkpoint
from medpref.training.parts import TrainingPart
from medpref.training.reference import compute_reference
from medpref.training.settings import TrainingSettings
from medpref.training.trainer import PreferenceTrainer

TEXTS = ("Is there a lesion in the left lung?", "Yes, in the upper lobe.", "No, the lung is clear.", "Left")
SIZES = {"image_size": 32, "patch_size": 8, "width": 32, "vision_layers": 2, "heads": 2, "key_value_heads": 1}


def make_pairs(folder: Path) -> list[Pair]:
    """Return thirteen pairs on five images, one to four on each; the images are the same in each run."""
    made = []
    for number in range(5):
        path = folder / f"{number}.png"
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        for nth in range(1 + (3 * number) % 4):
            responses = {
                ResponseRole.CHOSEN: TEXTS[1 + (nth + number) % 3],
                ResponseRole.REJECTED: TEXTS[1 + (nth + number + 1) % 3],
            }
            prompt = f"<image>\n{TEXTS[0][: 12 + 5 * nth]}"
            made.append(Pair(f"{number}-{nth}", prompt, {ImageRole.CLEAN: (path,)}, responses))
    return made


def shard_without_gpus() -> None:
    """Let accelerate spread weights over processes on the CPU, which it does for GPUs only."""
    start = PartialState.__init__

    def started(self: PartialState, *args: object, **rest: object) -> None:
        start(self, *args, **rest)
        if self.distributed_type == DistributedType.MULTI_CPU:
            self._shared_state["distributed_type"] = DistributedType.MULTI_GPU

    PartialState.__init__ = started  # type: ignore[method-assign]


def main(folder: Path, chosen: dict[str, object], kill: int | None = None) -> None:
    """Train, and let the first process write what came of it."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    sizes = TinyLlavaSettings(**SIZES, vocabulary=320, max_length=128, initializer_range=0.2)
    backbone = build_tiny_llava("mistral", TEXTS, sizes, seed=0)
    folder.mkdir(exist_ok=True)
    pairs = make_pairs(folder)
    usual = {"steps": 3, "images_per_step": 3, "log_every": 1, "learning_rate": 1e-3, "checkpoint_every": 2}
    settings = TrainingSettings.model_validate({**usual, **chosen})
    reference = None
    if settings.reference == "cached":
        reference = compute_reference(Scorer(backbone), pairs, objectives["dpo"].cells)
    parts = [
        TrainingPart(pairs[:8], objectives["dpo"], {}, reference, name="pairs"),
        TrainingPart(pairs[8:], objectives["sft"], name="answers"),
    ]
    done = 0

    def advance(amount: int) -> None:
        nonlocal done
        done += amount
        if done == kill:
            raise KeyboardInterrupt

    trainer = PreferenceTrainer(
        backbone, parts, settings, seed=0, folder=folder / "checkpoints", advance=advance
    )
    trainer.train(resume_from_checkpoint=last_checkpoint(folder / "checkpoints"))
    trainer.write_log(folder / "training.jsonl")
    trainer.save(folder / "model")
    if trainer.is_world_process_zero():
        told = {
            "tokens": trainer.state.num_input_tokens_seen,
            "processes": trainer.accelerator.num_processes,
            "distributed": str(trainer.accelerator.distributed_type),
        }
        (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    if os.environ.get("ACCELERATE_USE_FSDP") == "true" and not torch.cuda.is_available():
        shard_without_gpus()
    with suppress(KeyboardInterrupt):
        main(Path(sys.argv[1]), json.loads(sys.argv[2]), *map(int, sys.argv[3:]))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
