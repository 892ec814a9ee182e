"""Our training settings in transformers' terms, and the checkpoints that a killed run goes on from."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainingArguments

from medpref.training.settings import Advance, TrainingSettings


class _Progress(TrainerCallback):  # type: ignore[misc]
    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count the steps that an earlier, killed run has done."""
        self._advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count a step."""
        self._advance(1)


def step_progress(advance: Advance) -> list[TrainerCallback]:
    """Return callbacks that call `advance` with the number of optimizer steps done."""
    return [_Progress(advance)]


def training_arguments(settings: TrainingSettings, seed: int, folder: Path) -> TrainingArguments:
    """Translate our settings into transformers'. Precision is the scorer's business, not the Trainer's."""
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.images_per_step,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(settings.warmup_share * settings.steps),
        max_grad_norm=settings.max_grad_norm,
        logging_strategy="steps",
        logging_steps=settings.log_every,
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=1,
        seed=seed,
        data_seed=seed,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        log_level="error",
    )


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint in `folder` that was written to its end, or None.

    A checkpoint is whole once the trainer's state, the last file of it, can be read.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
    return next((path for path in reversed(found) if _is_whole(path)), None)


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, json.JSONDecodeError):
        return False
    return True
