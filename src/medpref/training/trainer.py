"""The trainer: it asks the objectives for their cells, the scorer for their log-probs, and steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer
from transformers.trainer_utils import EvalLoopOutput

from medpref.backbones.adapters import adapters_off
from medpref.backbones.base import Backbone
from medpref.errors import InputError, did_you_mean
from medpref.files import write_jsonl
from medpref.objectives.base import Scores
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.features import FeatureCache
from medpref.scoring.inputs import InputCache
from medpref.scoring.scorer import Request, Scorer
from medpref.training.arguments import step_progress, training_arguments
from medpref.training.checkpoints import (
    complete_states,
    make_whole,
    read_weights,
    save_trained,
    write_weights,
)
from medpref.training.checks import check_alike, check_parts
from medpref.training.groups import PairGroups, all_row_lengths, collate, hold_out
from medpref.training.metrics import TOKENS, RunningMeans, batch_metrics
from medpref.training.parts import TrainingPart
from medpref.training.probe import Probe, ProbeCallback, is_probe
from medpref.training.sampler import (
    Batches,
    BatchSize,
    Mixture,
    ProcessShare,
    pass_batches,
    run_batches,
)
from medpref.training.scores import gather_scores
from medpref.training.settings import Advance, TrainingSettings
from medpref.training.watch import Watch, check_finite
from medpref.training.weights import parameter_groups, prepare_model, sharded_layers

PartPairs = tuple[TrainingPart, Sequence[Pair]]
# Of how long a step took, and of where the run stands: they differ from run to run or say nothing new.
NOT_LOGGED = {"epoch", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second"}


class Trained(NamedTuple):
    """What one part contributes to a batch: its pairs with their scores and losses, in nats."""

    part: TrainingPart
    pairs: Sequence[Pair]
    scores: Scores
    losses: Tensor

    @property
    def beta(self) -> float:
        """What the implicit reward is scaled by."""
        return self.part.settings.get("beta", 0.1)


class PreferenceTrainer(Trainer):  # type: ignore[misc]
    """transformers' `Trainer` with objectives for a loss.

    What it wraps and steps is the scorer's module. The loss of a step is the mean over the step's pairs:
    those of all its forward passes, of all processes and of all parts.

    Args:
        backbone: the model to train, in place.
        parts: what to train on, with which objective.
        settings: steps, learning rate and the rest.
        seed: of the order of the data, of what is held out, and of adapters.
        folder: where checkpoints go.
        inputs: token ids and pixels, kept between uses.
        features: what a frozen tower says of images, kept; not used where weights are spread over processes.
        advance: called with 1 after each step, for progress.
        probe: what the model is asked while it is trained, where the settings say how often.

    Raises:
        InputError: the parts cannot be trained on, or the settings do not fit them.
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
        features: FeatureCache | None = None,
        advance: Advance = lambda _: None,
        probe: Probe | None = None,
    ) -> None:
        check_parts(parts, cached_reference=settings.reference == "cached")
        self.backbone = backbone
        self.settings = settings
        self.held_out = hold_out(parts, settings.validation_share, seed)
        self.parts = tuple(parts)
        self.means, self.evaluation_means = RunningMeans(), RunningMeans()
        self.watch = Watch(settings)
        prepare_model(backbone, settings, seed)
        chunk: dict[str, Any] = {"head_chunk": settings.head_chunk} if settings.head_chunk else {}
        self.scorer = Scorer(backbone, inputs, features=features, precision=settings.precision, **chunk)
        # FSDP looks for this beside `forward`.
        setattr(self.scorer.model, "_no_split_modules", sharded_layers(backbone.model))  # noqa: B010
        validation = self.held_out.validation
        super().__init__(
            model=self.scorer.model,
            args=training_arguments(settings, seed, folder),
            train_dataset=PairGroups(self.held_out.train, settings.pairs_per_group),
            eval_dataset=PairGroups(validation, settings.pairs_per_group) if validation else None,
            data_collator=collate,
            callbacks=[*step_progress(advance), *_early_stop(settings)],
        )
        if self._sharded:
            check_alike(parts)
            self.scorer.features = None
        # The loss is divided by the pairs of the whole step, so the passes' losses add up to the step's.
        self.model_accepts_loss_kwargs = True
        # Behind the one that stops early.
        self.add_callback(ProbeCallback(self, probe))
        # It would print every log line; ours go to the training log.
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return this process's share of all batches of the run."""
        settings, seed = self.settings, self.args.seed
        count = settings.steps * settings.accumulate
        mixture, size = self._mixture(self.train_dataset), self._batch_size
        return self._loader(
            self.train_dataset, run_batches(mixture, size, count, seed, by_length=settings.by_length)
        )

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Return this process's share of one pass over what is held out."""
        groups = self.eval_dataset if eval_dataset is None else eval_dataset
        return self._loader(groups, pass_batches(self._mixture(groups), self._batch_size))

    @property
    def _batch_size(self) -> BatchSize:
        return BatchSize(self.settings.images_per_step, self.settings.tokens_per_step)

    def _mixture(self, groups: PairGroups) -> Mixture:
        """Describe groups to the sampler; lengths are only counted where they are asked for."""
        counted = self.settings.by_length or self.settings.tokens_per_step is not None
        rows = all_row_lengths(groups, self.parts, self.scorer) if counted else ()
        hardness = groups.hardness() if self.settings.order == "hardest-first" else ()
        return Mixture(
            [group.part for group in groups.groups], [part.share for part in self.parts], rows, hardness
        )

    def _loader(self, groups: Dataset[Any], batches: Batches) -> DataLoader[Any]:
        share = ProcessShare(batches, self.accelerator.process_index, self.accelerator.num_processes)
        return DataLoader(groups, batch_sampler=share, collate_fn=collate)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor:
        """Count the pairs of one step: those of all its forward passes and of all processes."""
        pairs = sum(_size(batch) for batch in batch_samples)
        counts: Tensor = self.accelerator.gather(torch.tensor([pairs], device=device))
        return counts.sum()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, dict[str, Any]]:
        """Return a batch's share of the step's loss, in nats: its sum over pairs by the step's pairs.

        Args:
            model: the scorer's module, perhaps wrapped.
            inputs: what `collate` returns.
            return_outputs: also return the losses by pair.
            num_items_in_batch: how many pairs the step has; by default, those of this batch.

        Raises:
            RunError: the loss is not a finite number; the message names the step and the pairs.
        """
        before = self.scorer.tokens
        done = self._train_parts(model, inputs)
        self.means.add({TOKENS: self.scorer.tokens - before}, 0)
        step = self.state.global_step + 1
        for item in done:
            check_finite(step, item.pairs, item.losses)
            if inputs["counted"]:
                self.watch.look(step, item.pairs, item.scores, item.beta)
                self._add_metrics(self.means, item)
        # Wrapped models take the mean of the processes' gradients; a sum is wanted.
        pairs, scale = max(_size(inputs), 1), 1
        if num_items_in_batch is not None:
            pairs, scale = int(num_items_in_batch), self.accelerator.num_processes
        losses = torch.cat([item.losses for item in done])
        loss = losses.sum() * (scale * inputs["counted"]) / pairs
        return (loss, {"losses": losses}) if return_outputs else loss

    def _train_parts(self, model: nn.Module, inputs: dict[str, Any]) -> list[Trained]:
        """Return what each part contributes to a batch."""
        batch = [(self.parts[number], pairs) for number, pairs in inputs["pairs"].items()]
        return [
            Trained(part, pairs, scores, part.objective.loss(scores, **part.settings))
            for (part, pairs), scores in zip(batch, self.batch_scores(batch, model), strict=True)
        ]

    def _add_metrics(self, means: RunningMeans, item: Trained) -> None:
        loss = item.losses.detach().mean().item()
        by_part = {f"loss/{item.part.name}": loss} if len(self.parts) > 1 else {}
        metrics = {"loss": loss, **by_part, **batch_metrics(item.scores, item.beta)}
        means.add(metrics, len(item.pairs))

    def batch_scores(self, batch: Sequence[PartPairs], model: nn.Module | None = None) -> list[Scores]:
        """Score each part's cells under the policy, all at once, and look up or score the reference."""
        requests = [Request(pairs, part.objective.cells) for part, pairs in batch]
        references = self._references(batch, requests, model)
        scored = self.scorer.score_all(requests, model)
        return [
            gather_scores(part, pairs, cells, reference)
            for (part, pairs), cells, reference in zip(batch, scored, references, strict=True)
        ]

    def _references(
        self, batch: Sequence[PartPairs], requests: Sequence[Request], model: nn.Module | None
    ) -> list[Mapping[Cell, Tensor]]:
        """Return the reference's log-probs by token for each part; empty for a part that needs none."""
        needed = [part.objective.needs_reference for part, _ in batch]
        # Processes pass through the model together, also those whose share of a batch needs no reference.
        together = self.accelerator.num_processes > 1 and any(p.objective.needs_reference for p in self.parts)
        if self.settings.reference == "cached" or not (together or any(needed)):
            return [
                part.reference.look_up(pairs, part.objective.cells) if part.reference else {}
                for part, pairs in batch
            ]
        with torch.no_grad(), adapters_off(self.backbone):
            scored = self.scorer.score_all(requests, model)
        return [
            {cell: score.tokens for cell, score in cells.items()} if need else {}
            for cells, need in zip(scored, needed, strict=True)
        ]

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], *_: Any, **__: Any
    ) -> tuple[None, ...]:
        """Add a batch's metrics to the evaluation's; there is nothing else to hand on."""
        with torch.no_grad():
            done = self._train_parts(model, inputs)
        for item in done if inputs["counted"] else ():
            check_finite(self.state.global_step, item.pairs, item.losses)
            self._add_metrics(self.evaluation_means, item)
        return None, None, None

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **rest: Any) -> EvalLoopOutput:
        """Evaluate what is held out; all metrics are means over the pairs of all processes."""
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **rest)
        found = self.evaluation_means.take(self._gather)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        return output._replace(metrics=metrics)

    def _gather(self, values: Any) -> list[Any]:
        """Return what each process holds, in the order of the processes."""
        return list(gather_object([values])) if self.accelerator.num_processes > 1 else [values]

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Keep a checkpoint of each new best; keep none where training stops early.

        A run that went on from a checkpoint of the last evaluation would go on training.
        """
        name = self.settings.best_metric
        if not name.startswith("eval_"):
            name = f"eval_{name}"
        if name not in metrics:
            remedy = did_you_mean(name, metrics)
            raise InputError(
                "no objective of this run has this metric", where=f"best_metric: {name}", remedy=remedy
            )
        best: bool = super()._determine_best_metric(metrics, trial)
        early = self.control.should_training_stop and self.state.global_step < self.state.max_steps
        self.control.should_save = (self.control.should_save or best) and not early
        return best

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW in one pass over the weights, the vision tower with its own learning rate."""
        if self.optimizer is None:
            self.optimizer: torch.optim.Optimizer | None = torch.optim.AdamW(
                parameter_groups(model or self.model, self.backbone.parts.get("tower", ()), self.settings),
                weight_decay=self.settings.weight_decay,
                fused=True,
            )
        return self.optimizer

    @property
    def _sharded(self) -> bool:
        """Whether processes hold different weights: then the library reads and writes checkpoints."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """Write a checkpoint's weights as the backbone's own, not as the scoring module's."""
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            write_weights(self.backbone, folder, state_dict, lora=self.settings.lora is not None)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Write the optimizer's state, such that it can be read again."""
        if self.is_fsdp_enabled:
            complete_states(self.create_optimizer())
        super()._save_optimizer_and_scheduler(output_dir)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str | Path, model: nn.Module | None = None
    ) -> None:
        """Read a checkpoint's weights strictly: the Trainer's own way passes over tensors it cannot place."""
        if self._sharded:
            super()._load_from_checkpoint(str(resume_from_checkpoint), model)
        else:
            read_weights(self.backbone, Path(resume_from_checkpoint), lora=self.settings.lora is not None)

    def _load_best_model(self) -> None:
        """Read the weights that were best in evaluation."""
        if self._sharded:
            super()._load_best_model()
        else:
            self._load_from_checkpoint(self.state.best_model_checkpoint)

    def save(self, folder: Path) -> None:
        """Write the trained model as a plain Hugging Face folder that loads without us: by the first process.

        With LoRA the adapters go to the subfolder ``adapter``, and are merged into the model, in place. All
        processes have to call this; where each holds a part of the weights, the model can't be used after it.
        """
        whole = self.accelerator.get_state_dict(self.model_wrapped) if self._sharded else None
        if self.args.should_save:
            if whole is not None:
                make_whole(self.backbone, whole)
            save_trained(self.backbone, folder, lora=self.settings.lora is not None)
        self.accelerator.wait_for_everyone()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the metrics and warnings since the last line to what the Trainer logs of training."""
        warning = None
        if "loss" in logs or "train_loss" in logs:
            means = self.means.take(self._gather)
            warning = self.watch.take(self._gather)
            # The trainer's state is kept in checkpoints, so the count survives a kill.
            self.state.num_input_tokens_seen += round(means.pop(TOKENS, 0))
            # The Trainer's own loss is the mean over steps.
            means.pop("loss", None)
            logs = {**logs, **means}
        line = len(self.state.log_history)
        super().log(logs, start_time)
        if warning is not None:
            # Not in `logs`: trackers take numbers only. A probe may have logged behind this line.
            self.state.log_history[line]["warning"] = warning

    def write_log(self, path: Path) -> None:
        """Write one line for each logged step, each evaluation and each probe; only the first process does.

        Timings, which differ from run to run, are left out. What was held out is named in ``held-out.jsonl``
        beside the log.
        """
        if not self.is_world_process_zero():
            return
        rows = [row for row in self.state.log_history if "loss" in row or "eval_loss" in row or is_probe(row)]
        # Sorted, as a checkpoint sorts them: a resumed run writes the same bytes.
        write_jsonl(path, [{key: row[key] for key in sorted(row) if key not in NOT_LOGGED} for row in rows])
        if self.held_out.validation:
            write_jsonl(path.with_name("held-out.jsonl"), self.held_out.rows())


def _early_stop(settings: TrainingSettings) -> list[EarlyStoppingCallback]:
    return [EarlyStoppingCallback(settings.patience)] if settings.patience is not None else []


def _size(batch: Mapping[str, Any]) -> int:
    """Return how many pairs of a batch count."""
    return sum(map(len, batch["pairs"].values())) if batch["counted"] else 0
