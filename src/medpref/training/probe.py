"""Asks a model questions while it is trained, so that its log shows what it answers beside its rewards."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from medpref.errors import InputError
from medpref.evaluation.metrics import PROBE

if TYPE_CHECKING:
    from medpref.training.trainer import PreferenceTrainer

Probe = Callable[[int], Mapping[str, float]]
"""Asks the model as it stands after so many steps, and returns its scores by name."""


class ProbeCallback(TrainerCallback):  # type: ignore[misc]
    """Asks before the first step, every so many steps and at the end, and logs the scores.

    Training goes on as if nothing had been asked: random numbers and the modules' modes are put back.
    With several processes the first one asks, and the others wait.

    Args:
        trainer: whose model is asked; its settings say how often.
        probe: what is asked.

    Raises:
        InputError: the settings say how often to ask, and there is nothing to ask, or no process has the
            whole model.
    """

    def __init__(self, trainer: "PreferenceTrainer", probe: Probe | None) -> None:
        self._trainer = trainer
        self._every = trainer.settings.probe_steps
        self._probe = probe
        if self._every is None:
            return
        if probe is None:
            raise InputError("there is nothing to ask while the model is trained", where="probe_every")
        if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
            raise InputError(
                "a model that is spread over processes cannot be asked while it is trained",
                where="probe_every",
                remedy="Leave it out, or launch with DDP.",
            )

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask before the first step."""
        if state.global_step == 0:
            self._ask(state)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:
        """Ask at the steps that are due, once their metrics are logged and before a checkpoint."""
        if self._every is None or "loss" not in logs:
            return
        if state.global_step % self._every == 0 or state.global_step >= state.max_steps:
            self._ask(state)

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask where training stops early."""
        if control.should_training_stop:
            self._ask(state)

    def _ask(self, state: Any) -> None:
        if self._every is None or self._probe is None or _is_probed(state):
            return
        if self._trainer.is_world_process_zero():
            device = self._trainer.backbone.device
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                scores = self._probe(state.global_step)
            self._trainer.log({f"{PROBE}{name}": value for name, value in scores.items()})
        self._trainer.accelerator.wait_for_everyone()


def _is_probed(state: Any) -> bool:
    """Tell whether the log has a probe's scores at the present step."""
    here = (row for row in state.log_history if row["step"] == state.global_step)
    return any(is_probe(row) for row in here)


def is_probe(row: Mapping[str, Any]) -> bool:
    """Tell whether a line of a training log has a probe's scores."""
    return any(name.startswith(PROBE) for name in row)
