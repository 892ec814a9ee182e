"""The trainer: it asks the objective for its cells, the scorer for their log-probs, and steps."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
from medpref.scoring.cells import Cell, CellScore, missing_part
from medpref.scoring.inputs import InputCache
from medpref.scoring.scorer import Request, Scorer
from medpref.training.arguments import step_progress, training_arguments
from medpref.training.metrics import RunningMeans, batch_metrics
from medpref.training.parts import TrainingPart
from medpref.training.settings import Advance, TrainingSettings


class Group(NamedTuple):
    """Pairs that are trained on together.

    Attributes:
        part: the number of the training part that they belong to.
        pairs: the pairs, all on one image.
    """

    part: int
    pairs: tuple[Pair, ...]


class PairGroups(Dataset[Group]):
    """All parts' pairs in groups: one item is one image with up to `largest` of its pairs of one part."""

    def __init__(self, parts: Sequence[TrainingPart], largest: int) -> None:
        self.groups = [
            Group(number, pairs)
            for number, part in enumerate(parts)
            for pairs in group_by_image(part.pairs, largest)
        ]

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self.groups)

    def __getitem__(self, index: int) -> Group:
        """Return one group."""
        return self.groups[index]


def collate(groups: Sequence[Group]) -> dict[str, Any]:
    """Put the pairs of several groups into one batch: for each part, its pairs."""
    batch: dict[int, list[Pair]] = {}
    for group in groups:
        batch.setdefault(group.part, []).extend(group.pairs)
    return {"pairs": batch}


class PreferenceTrainer(Trainer):  # type: ignore[misc]
    """transformers' `Trainer` with objectives for a loss.

    Args:
        backbone: the model to train, in place.
        parts: what to train on, with which objective.
        settings: steps, learning rate and the rest.
        seed: of the order of the data.
        folder: where checkpoints go.
        inputs: token ids and pixels, kept between uses.
        advance: called with 1 after each step, for progress.
    """

    def __init__(
        self,
        backbone: Backbone,
        parts: Sequence[TrainingPart],
        settings: TrainingSettings,
        *,
        seed: int,
        folder: Path,
        inputs: InputCache | None = None,
        advance: Advance = lambda _: None,
    ) -> None:
        for part in parts:
            check_part(part)
        self.backbone = backbone
        self.scorer = Scorer(backbone, inputs, precision=settings.precision)
        self.parts = tuple(parts)
        self.settings = settings
        self.means = RunningMeans()
        backbone.freeze(settings.freeze)
        super().__init__(
            model=backbone.model,
            args=training_arguments(settings, seed, folder),
            train_dataset=PairGroups(parts, settings.pairs_per_image),
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
        batch = [(self.parts[number], pairs) for number, pairs in inputs["pairs"].items()]
        losses = []
        for (part, pairs), scores in zip(batch, self.batch_scores(batch), strict=True):
            losses.append(part.objective.loss(scores, **part.settings))
            self._check_finite(pairs, losses[-1])
            self.means.add(batch_metrics(scores, part.settings.get("beta", 0.1)))
        loss = torch.cat(losses).mean()
        return (loss, {"losses": losses}) if return_outputs else loss

    def _check_finite(self, pairs: Sequence[Pair], losses: Tensor) -> None:
        if torch.isfinite(losses).all():
            return
        bad = [pair.id for pair, loss in zip(pairs, losses.tolist(), strict=True) if not math.isfinite(loss)]
        raise RunError(
            f"the loss of {len(bad)} pairs is not a finite number at step {self.state.global_step + 1}",
            where=f"pairs {', '.join(bad[:5])}",
            remedy="Lower the learning rate, or look at these pairs.",
        )

    def batch_scores(self, batch: Sequence[tuple[TrainingPart, Sequence[Pair]]]) -> list[Scores]:
        """Score each part's cells under the policy, all at once, and look up the reference."""
        before = self.scorer.tokens
        scored = self.scorer.score_all([Request(pairs, part.objective.cells) for part, pairs in batch])
        # The trainer's state is kept in checkpoints, so the count survives a kill.
        self.state.num_input_tokens_seen += self.scorer.tokens - before
        return [gather_scores(part, pairs, cells) for (part, pairs), cells in zip(batch, scored, strict=True)]

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


def gather_scores(part: TrainingPart, pairs: Sequence[Pair], cells: Mapping[Cell, CellScore]) -> Scores:
    """Put together what a part's objective reads: the policy's scores, the reference's, and the weights."""
    objective = part.objective
    logps = {cell: score.logps for cell, score in cells.items()}
    device = next(iter(logps.values())).device
    found = part.reference.look_up(pairs, objective.cells) if part.reference else {}
    reference = {cell: values.to(device) for cell, values in found.items()}
    weight = [pair.weight or 0.0 for pair in pairs] if objective.needs_weight else None
    return Scores(
        logps,
        {cell: values.sum(1) for cell, values in reference.items()},
        {cell: score.lengths for cell, score in cells.items()},
        torch.tensor(weight, device=device) if weight is not None else None,
        {cell: score.tokens for cell, score in cells.items()} if objective.needs_tokens else {},
        reference if objective.needs_tokens else {},
    )


def check_part(part: TrainingPart) -> None:
    """Check that a part can be trained on.

    Raises:
        InputError: the reference is missing, or `check_pairs` finds a fault.
    """
    if part.objective.needs_reference and part.reference is None:
        raise InputError(f"objective {part.objective.name} needs reference log-probs", where=part.name)
    check_pairs(part.pairs, part.objective)


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
