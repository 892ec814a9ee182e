"""TRL's DPOTrainer: its reference pass, collated batch, loss and metrics, in the best form it supports.

- The reference model is handed over (full training), or the adapters are put off (LoRA): no third copy.
- Precomputed reference log-probs are refused for vision data, so the reference runs in every step. In version
  1.16, `DPOTrainer.__init__` raises "precompute_ref_log_probs=True is not supported for vision datasets".
- On CUDA, TRL's LM head scores the labelled positions only; on a CPU it scores all of them. `label_only`
  takes the form of CUDA on a CPU too, with tiles no wider than the vocabulary.
- Batches are collated before the clock starts, as its own collator does it: each image once for the chosen
  and once for the rejected response, rows padded at the right. The frozen tower gets no gradients.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from datasets import Dataset
from torch import Tensor
from trl.trainer import utils as trl_utils
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from benchmarks.bench import Bench, Trained
from benchmarks.models import lora_config
from benchmarks.rows import pad_rows
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell


class TrlSide:
    """A `DPOTrainer` on a fresh copy of the policy, shared by the variants below."""

    def __init__(self, bench: Bench) -> None:
        lora = bench.setting.training == "lora"
        model = bench.policy()
        self.trainer = DPOTrainer(
            model=model,
            ref_model=None if lora else bench.reference().eval().requires_grad_(False),
            peft_config=lora_config(model) if lora else None,
            args=DPOConfig(
                output_dir=tempfile.gettempdir(),
                use_cpu=bench.device.type == "cpu",
                report_to=[],
                max_length=None,
                bf16=False,
                beta=0.1,
                gradient_checkpointing=bench.setting.checkpointing,
                gradient_checkpointing_kwargs={"use_reentrant": False},
                disable_tqdm=True,
            ),
            # Never used: batches come collated. It only tells the trainer which columns there are.
            train_dataset=Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}]),
            processing_class=bench.tokenizer,
        )
        model = self.trainer.model.train()
        if lora:
            bench.move_adapters(model)
        self.trained = Trained(model, checkpointing=bench.setting.checkpointing)
        self.bench = bench


class Trl:
    """TRL's DPO.

    Args:
        side: the trainer.
        label_only: score the labelled positions only.
    """

    def __init__(self, side: TrlSide, *, label_only: bool) -> None:
        self.name = "TRL, label-only head" if label_only else "TRL"
        self.trained = side.trained
        self._side = side
        self._label_only = label_only
        self._batches: list[dict[str, Tensor]] = []

    def prepare(self, batches: Sequence[Sequence[Pair]]) -> None:
        """Collate the batches."""
        bench = self._side.bench
        for batch in batches:
            rows = pad_rows(bench.inputs, batch, (Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED), bench.device)
            self._batches.append(
                {
                    "input_ids": rows.ids,
                    "attention_mask": rows.mask,
                    "completion_mask": rows.responses,
                    "pixel_values": rows.pixels,
                }
            )

    def loss(self, number: int) -> Tensor:
        """Return the trainer's loss of one batch."""
        trainer: Any = self._side.trainer
        trainer._metrics["train"].clear()
        with self._side.bench.autocast(), label_only_head(self._label_only):
            loss: Tensor = trainer.compute_loss(trainer.model, dict(self._batches[number]))
        return loss


@contextmanager
def label_only_head(wanted: bool) -> Iterator[None]:
    """Let TRL's LM head score the labelled positions only, on a CPU as on CUDA."""
    if not wanted:
        yield
        return
    # In this module the function decides about the positions alone: the kernels have their own name for it.
    # A tile of the default 32,768 columns would spread a small vocabulary's rows over the cache.
    with (
        patch.object(trl_utils, "_use_triton", lambda device: True),
        patch.object(trl_utils, "_CHUNKED_LOGPROB_CHUNK_SIZE", 1024),
    ):
        yield
