"""Our training settings in transformers' terms, and the checkpoints that a killed run goes on from."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from medpref.errors import InputError, did_you_mean
from medpref.training.metrics import rises
from medpref.training.settings import Advance, TrainingSettings


class _Progress(TrainerCallback):  # type: ignore[misc]
    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count the steps that an earlier, killed run has done."""
        self._advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count a step, and see to it that the last one is logged."""
        self._advance(1)
        if state.global_step >= state.max_steps:
            control.should_log = True


def step_progress(advance: Advance) -> list[TrainerCallback]:
    """Return callbacks that call `advance` with the number of optimizer steps done."""
    return [_Progress(advance)]


# The library's names of our schedules; all of them climb first.
SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


def training_arguments(settings: TrainingSettings, seed: int, folder: Path) -> TrainingArguments:
    """Translate our settings into transformers'. Precision is the scorer's business, not the Trainer's.

    Raises:
        InputError: a tracker is unknown or not installed.
    """
    check_trackers(settings.trackers)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.images_per_step,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=SCHEDULES[settings.schedule],
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
        report_to=list(settings.trackers),
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        log_level="error",
        **_evaluation(settings),
    )
    # One process drives one device: without a launcher the library would spread batches over all it sees.
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


def _evaluation(settings: TrainingSettings) -> dict[str, Any]:
    if settings.evaluation_steps is None:
        return {}
    return {
        "eval_strategy": "steps",
        "eval_steps": settings.evaluation_steps,
        "per_device_eval_batch_size": settings.images_per_step,
        "load_best_model_at_end": True,
        "metric_for_best_model": settings.best_metric,
        "greater_is_better": rises(settings.best_metric),
        # How often in a row there was no new best has to outlive a kill.
        "restore_callback_states_from_checkpoint": True,
    }


def check_trackers(names: Sequence[str]) -> None:
    """Check that the library can tell its metrics to the trackers of these names.

    Raises:
        InputError: a name is unknown, or what it needs is not installed.
    """
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            remedy = did_you_mean(name, INTEGRATION_TO_CALLBACK)
            raise InputError(f"there is no tracker called {name!r}", where="trackers", remedy=remedy)
        try:
            INTEGRATION_TO_CALLBACK[name]()
        except (RuntimeError, ImportError, AssertionError) as error:
            raise InputError(f"tracker {name} cannot be used: {error}", where="trackers") from None


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
