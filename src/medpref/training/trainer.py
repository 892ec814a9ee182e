"""The trainer: it asks the objective for its cells, the scorer for their log-probs, and steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer

from medpref.backbones.base import Backbone
from medpref.errors import InputError, RunError
from medpref.files import write_jsonl
from medpref.objectives.base import Objective, Scores
from medpref.pairs.pair import Pair
from medpref.pairs.store import group_by_image
from medpref.scoring.cells import missing_part
from medpref.scoring.inputs import InputCache
from medpref.scoring.scorer import Scorer
from medpref.training.arguments import step_progress, training_arguments
from medpref.training.metrics import RunningMeans, batch_metrics
from medpref.training.reference import ReferenceLogps
from medpref.training.settings import Advance, TrainingSettings


class PairGroups(Dataset[tuple[Pair, ...]]):
    """Pairs on the same image, together: one item is one image with up to `largest` of its pairs."""

    def __init__(self, pairs: Sequence[Pair], largest: int) -> None:
        self.groups = group_by_image(pairs, largest)

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self.groups)

    def __getitem__(self, index: int) -> tuple[Pair, ...]:
        """Return one group."""
        return self.groups[index]


def collate(groups: Sequence[tuple[Pair, ...]]) -> dict[str, Any]:
    """Put the pairs of several groups into one batch."""
    return {"pairs": [pair for group in groups for pair in group]}


class PreferenceTrainer(Trainer):  # type: ignore[misc]
    """transformers' `Trainer` with an objective for a loss.

    Args:
        backbone: the model to train, in place.
        pairs: what to train on.
        objective: names the cells and gives the loss.
        objective_settings: keyword arguments of the loss.
        reference: log-probs of the starting weights, where the objective needs them.
        settings: steps, learning rate and the rest.
        seed: of the order of the data.
        folder: where checkpoints go.
        inputs: token ids and pixels, kept between uses.
        advance: called with 1 after each step, for progress.
    """

    def __init__(
        self,
        backbone: Backbone,
        pairs: Sequence[Pair],
        objective: Objective,
        objective_settings: dict[str, float],
        reference: ReferenceLogps | None,
        settings: TrainingSettings,
        *,
        seed: int,
        folder: Path,
        inputs: InputCache | None = None,
        advance: Advance = lambda _: None,
    ) -> None:
        check_pairs(pairs, objective)
        if objective.needs_reference and reference is None:
            raise InputError(f"objective {objective.name} needs reference log-probs")
        self.backbone = backbone
        self.scorer = Scorer(backbone, inputs, precision=settings.precision)
        self.objective = objective
        self.objective_settings = objective_settings
        self.reference = reference
        self.settings = settings
        self.means = RunningMeans()
        backbone.freeze(settings.freeze)
        super().__init__(
            model=backbone.model,
            args=training_arguments(settings, seed, folder),
            train_dataset=PairGroups(pairs, settings.pairs_per_image),
            data_collator=collate,
            callbacks=step_progress(advance),
        )
        # It would print every log line; ours go to the training log.
        self.remove_callback(PrinterCallback)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **_: Any
    ) -> Tensor | tuple[Tensor, dict[str, Any]]:
        """Return the mean loss of a batch of pairs, in nats.

        Raises:
            RunError: the loss is not a finite number; the message names the step and the pairs.
        """
        pairs: list[Pair] = inputs["pairs"]
        scores = self.batch_scores(pairs)
        losses = self.objective.loss(scores, **self.objective_settings)
        if not torch.isfinite(losses).all():
            bad = [
                pair.id
                for pair, loss in zip(pairs, losses.tolist(), strict=True)
                if not abs(loss) < float("inf")
            ]
            raise RunError(
                f"the loss of {len(bad)} pairs is not a finite number at step {self.state.global_step + 1}",
                where=f"pairs {', '.join(bad[:5])}",
                remedy="Lower the learning rate, or look at these pairs.",
            )
        self.means.add(batch_metrics(scores, self.objective_settings.get("beta", 0.1)))
        loss = losses.mean()
        return (loss, {"losses": losses}) if return_outputs else loss

    def batch_scores(self, pairs: Sequence[Pair]) -> Scores:
        """Score the objective's cells under the policy and look up the reference."""
        cells = self.objective.cells
        before = self.scorer.tokens
        scored = self.scorer.score(pairs, cells)
        # The trainer's state is kept in checkpoints, so the count survives a kill.
        self.state.num_input_tokens_seen += self.scorer.tokens - before
        logps = {cell: score.logps for cell, score in scored.items()}
        lengths = {cell: score.lengths for cell, score in scored.items()}
        device = self.backbone.device
        found = self.reference.look_up(pairs, cells) if self.reference else {}
        reference = {cell: values.to(device) for cell, values in found.items()}
        weights = self._weights(pairs) if self.objective.needs_weight else None
        return Scores(logps, reference, lengths, weights)

    def _weights(self, pairs: Sequence[Pair]) -> Tensor:
        # check_pairs has made sure that every pair has one.
        return torch.tensor([pair.weight or 0.0 for pair in pairs], device=self.backbone.device)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW, the vision tower with its own learning rate."""
        if self.optimizer is None:
            self.optimizer: torch.optim.Optimizer | None = torch.optim.AdamW(
                parameter_groups(self.model, self.settings), weight_decay=self.settings.weight_decay
            )
        return self.optimizer

    def _load_from_checkpoint(self, folder: str | Path, model: nn.Module | None = None) -> None:
        """Read a checkpoint's weights strictly: the Trainer's own way passes over tensors it cannot place."""
        self.backbone.load_weights(Path(folder))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the metrics since the last line to what the Trainer logs."""
        super().log({**logs, **self.means.take()}, start_time)

    def write_log(self, path: Path) -> None:
        """Write one line for each logged step, without the timings, which differ from run to run."""
        rows = [row for row in self.state.log_history if "loss" in row]
        # Sorted, as a checkpoint sorts them: a resumed run writes the same bytes.
        write_jsonl(path, [{key: row[key] for key in sorted(row) if key != "epoch"} for row in rows])


def check_pairs(pairs: Sequence[Pair], objective: Objective) -> None:
    """Check that every pair has what the objective reads.

    Raises:
        InputError: there are no pairs, or one lacks a cell's part or the weight; the message names it.
    """
    if not pairs:
        raise InputError("there is no pair to train on")
    for pair in pairs:
        lacking = next(filter(None, (missing_part(pair, cell) for cell in objective.cells)), None)
        if lacking is None and objective.needs_weight and pair.weight is None:
            lacking = "no weight"
        if lacking:
            raise InputError(
                f"{lacking}, which objective {objective.name} needs",
                where=f"pair {pair.id}",
                remedy="Name a recipe that makes it, or leave the pair out.",
            )


def parameter_groups(model: nn.Module, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Split the trained parameters into tower and rest, each with its learning rate."""
    groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups["vision_tower" in name].append(parameter)
    rates = {False: settings.learning_rate, True: settings.learning_rate * settings.tower_factor}
    return [{"params": members, "lr": rates[tower]} for tower, members in groups.items() if members]
