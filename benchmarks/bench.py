"""What all variants of one comparison start from: weights, data, the reference and the optimizer."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from benchmarks.data import SHAPES, make_batches, tokenizer_texts
from benchmarks.models import (
    SIZES,
    Size,
    Training,
    fill_adapters,
    make_encoder,
    make_model,
    make_tokenizer,
    move_weights,
)
from medpref.objectives import Objective, objectives
from medpref.pairs.pair import Pair
from medpref.scoring.inputs import InputCache
from medpref.training.settings import Precision


@dataclass(frozen=True, slots=True)
class Setting:
    """One comparison.

    Attributes:
        size: a name in `benchmarks.models.SIZES`.
        shape: a name in `benchmarks.data.SHAPES`.
        objective: the loss.
        training: all of the language model's weights, or adapters of rank 16 on its linear layers.
        batches: how many distinct batches there are.
        checkpointing: whether layers are computed again in the backward pass; the same on all sides.
        seed: of weights and data.
    """

    size: str = "P"
    shape: str = "captions"
    objective: str = "dpo"
    training: Training = "full"
    batches: int = 2
    checkpointing: bool = False
    seed: int = 0


class Bench:
    """Weights, data and precision of one comparison.

    Args:
        setting: the comparison.
        folder: where the images go.
        moved: let the policy differ from the reference, so that losses say something. Off, the policy is the
            reference, as when training begins.
    """

    def __init__(self, setting: Setting, folder: Path, *, moved: bool = True) -> None:
        self.setting = setting
        self.moved = moved
        self.size: Size = SIZES[setting.size]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision: Precision = "fp32"
        """Of the forward passes: losses are compared in fp32, and timed in bf16 autocast on a GPU."""
        self.tokenizer: PreTrainedTokenizerFast = make_tokenizer(self.size, tokenizer_texts())
        self.inputs = InputCache(make_encoder(self.size, self.tokenizer))
        self.objective: Objective = objectives[setting.objective]
        self.batches: list[list[Pair]] = make_batches(
            folder,
            SHAPES[setting.shape],
            side=self.size.image,
            batches=setting.batches,
            seed=setting.seed,
        )

    def policy(self) -> LlavaForConditionalGeneration:
        """Return a fresh copy of the policy; with adapters, the weights below them."""
        model = self.reference()
        if self.setting.training == "lora":
            model.requires_grad_(False)
        elif self.moved:
            move_weights(model, self.setting.seed + 1)
        return model

    def reference(self) -> LlavaForConditionalGeneration:
        """Return a fresh copy of the reference."""
        return make_model(self.size, self.tokenizer, self.setting.seed).to(self.device)

    def move_adapters(self, model: nn.Module) -> None:
        """Give the adapters of `model` weights, the same for each model: they start as no change at all."""
        if self.moved:
            fill_adapters(model, self.setting.seed + 1)

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context that forward passes run in."""
        enabled = self.precision == "bf16"
        context: AbstractContextManager[None] = torch.autocast(
            self.device.type, torch.bfloat16, enabled=enabled
        )
        return context


class Variant(Protocol):
    """One way to train.

    Attributes:
        name: as in the table.
        trained: what is trained; variants of one side share it.
    """

    name: str
    trained: "Trained"

    def prepare(self, batches: Sequence[Sequence[Pair]]) -> None:
        """Do what is done once for a data set: cache what will be needed again, put batches together."""
        ...

    def loss(self, number: int) -> Tensor:
        """Return the mean loss of the batch with this number, in nats."""
        ...


class Trained:
    """A model with the optimizer that trains it: the same for each side.

    Args:
        model: its trained weights are those that require gradients.
        checkpointing: compute layers again in the backward pass.
    """

    def __init__(self, model: nn.Module, *, checkpointing: bool) -> None:
        self.model = model
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        # The study's learning rate: within a benchmark the weights all but stay.
        self.optimizer = torch.optim.AdamW(self.weights, lr=1e-7, weight_decay=0.0, fused=True)
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})  # type: ignore[operator]

    def step(self, loss: Tensor) -> None:
        """Go backward from `loss`, clip and step."""
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def gradient(self, loss: Tensor) -> Tensor:
        """Go backward from `loss` and return the whole gradient, one number for each trained weight."""
        loss.backward()  # type: ignore[no-untyped-call]
        parts = [torch.zeros_like(w) if w.grad is None else w.grad for w in self.weights]
        whole = torch.cat([part.flatten() for part in parts])
        self.optimizer.zero_grad(set_to_none=True)
        return whole
