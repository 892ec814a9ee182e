"""How a run trains."""

from collections.abc import Callable
from math import ceil
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medpref.training.metrics import rises

Precision = Literal["fp32", "bf16"]
Advance = Callable[[int], None]
"""Called with the amount of work just done, for progress."""


class LoraSettings(BaseModel):
    """Low-rank adapters (arXiv:2106.09685) in place of full training.

    Attributes:
        r: the rank of the update.
        alpha: the update is scaled by alpha / r, with `rslora` by alpha / √r.
        dropout: on the adapters' input.
        targets: what gets adapters: parts (language_model, projector, tower) stand for all their linear
            layers, other names for the linear layers that are called so, such as q_proj.
        rslora: scale by √r, which keeps large ranks stable (arXiv:2312.03732).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    r: int = Field(16, ge=1)
    alpha: float = Field(32.0, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: tuple[str, ...] = Field(("language_model",), min_length=1)
    rslora: bool = False


class TrainingSettings(BaseModel):
    """Settings that every objective shares. Schedules count steps, never seconds: seconds don't reproduce.

    Sizes are those of all processes together: two processes share what one would do alone, and the results
    are the same but for rounding.

    Attributes:
        steps: optimizer steps.
        epochs: in place of `steps`, how often all groups are passed over.
        images_per_step: how many groups (an image with its pairs) one forward pass sees.
        pairs_per_image: the most pairs of one image in one group.
        group_by_image: put pairs on one image into one group, so that they share the image's tokens. Off,
            each pair is a group by itself, and a batch's pairs are on as many images as chance has it.
        tokens_per_step: in place of `images_per_step`, as many groups as fit into this many tokens of rows,
            padding included.
        order: of the first pass over the pairs: shuffled, or from the pairs with the largest weight, such as
            the recipe ``hardness`` gives, to those with the smallest. Later passes are shuffled.
        by_length: put groups of like length into one batch, which saves padding.
        learning_rate: the peak of the schedule.
        schedule: how the learning rate goes on after its climb: cosine or linear to zero, or constant.
        tower_factor: multiplies the learning rate of the vision tower.
        warmup_share: the share of steps during which the learning rate climbs.
        weight_decay: of AdamW.
        max_grad_norm: gradients are clipped to this norm.
        freeze: parts that stay as they are: tower, projector, language_model.
        lora: train low-rank adapters; all other weights stay as they are.
        quantize: keep the language model's weights in 4 bits while adapters are trained (QLoRA,
            arXiv:2305.14314). The model that is saved has plain weights: the rounded ones, with the adapters'
            update added.
        reference: where reference log-probs come from: cached before training, or, with `lora`, the model
            with its adapters off, scored beside each batch.
        accumulate: how many forward passes share one optimizer step.
        gradient_checkpointing: compute activations again in the backward pass instead of keeping them.
        recompute: compute cheap activations again, those of norms and gated products, where the backbone can:
            a third less of them to keep, for some per cent of the time.
        head_chunk: apply the LM head to this many positions at a time; by default the scorer's own number.
        feature_memory_gb: the most memory that a frozen tower's features take, in gigabytes; those used
            longest ago go first.
        feature_disk_gb: the most that their files in the cache take; with 0 there are none.
        precision: of the forward passes, the reference's included: fp32, or bf16 autocast.
        validation_share: the share of images whose pairs are held out for evaluation.
        evaluate_every: steps between evaluations on the pairs held out, rounded up to a multiple of
            `log_every`; the weights that were best are those that training ends with.
        best_metric: what the best is judged by, an evaluation metric's name.
        patience: stop after this many evaluations in a row without a new best.
        on_collapse: what to do where the policy collapses or its reward diverges: warn in the log, stop, or
            ignore.
        collapse_nats: collapse: the chosen response's log-prob fell this many nats a token below the
            reference's.
        reward_limit: divergence: a reward margin beyond this, in nats, on either side of zero.
        probe_every: steps between probes, rounded up to a multiple of `log_every`: the model is asked the
            validation samples of the study's search, also before the first step and after the last one, and
            the scores go to the training log.
        log_every: steps between lines of the training log.
        checkpoint_every: steps between checkpoints that a killed run goes on from, rounded up to a multiple
            of `log_every`: means that are not logged yet would be lost with the process.
        trackers: who else is told the metrics, by transformers' names, such as tensorboard, which writes
            below the checkpoints' folder. Others send them away from this machine.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(100, ge=1)
    epochs: float | None = Field(None, gt=0)
    images_per_step: int = Field(16, ge=1)
    pairs_per_image: int = Field(4, ge=1)
    group_by_image: bool = True
    tokens_per_step: int | None = Field(None, ge=1)
    order: Literal["shuffled", "hardest-first"] = "shuffled"
    by_length: bool = False
    learning_rate: float = Field(1e-4, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    tower_factor: float = Field(1.0, ge=0)
    warmup_share: float = Field(0.03, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    freeze: tuple[str, ...] = ()
    lora: LoraSettings | None = None
    quantize: Literal["4bit"] | None = None
    reference: Literal["cached", "adapters-off"] = "cached"
    accumulate: int = Field(1, ge=1)
    gradient_checkpointing: bool = False
    recompute: bool = False
    head_chunk: int | None = Field(None, ge=1)
    feature_memory_gb: float = Field(4.0, ge=0)
    feature_disk_gb: float = Field(64.0, ge=0)
    precision: Precision = "fp32"
    validation_share: float = Field(0.0, ge=0, lt=1)
    evaluate_every: int | None = Field(None, ge=1)
    best_metric: str = "eval_loss"
    patience: int | None = Field(None, ge=1)
    on_collapse: Literal["warn", "stop", "ignore"] = "warn"
    collapse_nats: float = Field(2.0, gt=0)
    reward_limit: float = Field(50.0, gt=0)
    # Left out of stages' keys where it is not set: training does not depend on it.
    probe_every: int | None = Field(None, ge=1, exclude_if=lambda value: value is None)
    log_every: int = Field(10, ge=1)
    checkpoint_every: int = Field(50, ge=1)
    trackers: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> "TrainingSettings":
        if self.epochs is not None and self.tokens_per_step is not None:
            raise ValueError("epochs are counted in groups: with tokens_per_step, set steps")
        if (self.validation_share > 0) != (self.evaluate_every is not None):
            raise ValueError("validation_share and evaluate_every need each other")
        if self.patience is not None and self.evaluate_every is None:
            raise ValueError("patience counts evaluations: set evaluate_every and validation_share")
        if self.reference == "adapters-off" and self.lora is None:
            raise ValueError("reference: adapters-off needs lora: without adapters nothing can be put off")
        if self.order == "hardest-first" and self.by_length:
            raise ValueError("by_length orders the batches by chance: it cannot go with order: hardest-first")
        if self.quantize and (self.lora is None or self.reference == "cached"):
            # A cached reference would be that of the plain weights, not of the rounded ones.
            raise ValueError("quantize needs lora and reference: adapters-off")
        rises(self.best_metric)  # raises for an unknown name
        return self

    def counted(self, groups: int) -> "TrainingSettings":
        """Return the settings with as many steps as the epochs take over so many groups, rounded up."""
        if self.epochs is None:
            return self
        steps = ceil(self.epochs * groups / (self.images_per_step * self.accumulate))
        return self.model_copy(update={"steps": max(1, steps)})

    @property
    def pairs_per_group(self) -> int:
        """The most pairs that one group holds."""
        return self.pairs_per_image if self.group_by_image else 1

    @property
    def evaluation_steps(self) -> int | None:
        """The steps between evaluations, a multiple of `log_every`."""
        return self.evaluate_every and _round_up(self.evaluate_every, self.log_every)

    @property
    def probe_steps(self) -> int | None:
        """The steps between probes, a multiple of `log_every`."""
        return self.probe_every and _round_up(self.probe_every, self.log_every)

    @property
    def save_steps(self) -> int:
        """The steps between checkpoints, a multiple of `log_every` and of the steps between evaluations."""
        return _round_up(self.checkpoint_every, self.evaluation_steps or self.log_every)


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
