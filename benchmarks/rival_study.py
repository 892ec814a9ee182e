"""The scheme of the study's own trainers: rows of their own for each response and image, all logits.

Chosen and rejected rows are concatenated and padded; each row has its image, so the tower sees an image once
for each row; logits are computed at all positions; the reference model runs in every step.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from jaxtyping import Float
from peft import get_peft_model
from torch import Tensor, nn

from benchmarks.bench import Bench, Trained
from benchmarks.models import lora_config
from benchmarks.rows import PaddedRows, pad_rows
from medpref.objectives import Scores
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell


class StudySide:
    """A fresh copy of the policy with its reference, shared by the variants below."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.adapters_off: AbstractContextManager[None]
        model: nn.Module = bench.policy()
        if bench.setting.training == "lora":
            model = get_peft_model(model, lora_config(model))
            bench.move_adapters(model)
            self._reference = model
        else:
            self._reference = bench.reference().eval().requires_grad_(False)
        self.trained = Trained(model, checkpointing=bench.setting.checkpointing)

    def policy_logps(self, rows: PaddedRows) -> Float[Tensor, " rows"]:
        """Return the responses' log-probs under the policy, in nats."""
        return response_logps(self.trained.model, rows)

    @torch.no_grad()
    def reference_logps(self, rows: PaddedRows) -> Float[Tensor, " rows"]:
        """Return the same under the reference: with adapters, the policy without them."""
        lora = self._reference is self.trained.model
        off: AbstractContextManager[None] = self._reference.disable_adapter() if lora else nullcontext()  # type: ignore[operator]
        with off:
            return response_logps(self._reference, rows)


class Study:
    """The study's scheme for any objective.

    Args:
        side: the models.
        calls: the cells of each forward pass. One call scores all of them; the official mDPO makes one for
            the responses and one for the images, and so scores (m, yw) twice.
        name: as in the table.
    """

    def __init__(self, side: StudySide, calls: Sequence[Sequence[Cell]], name: str) -> None:
        self.name = name
        self.trained = side.trained
        self._side = side
        self._calls = calls
        self._batches: list[tuple[Sequence[Pair], list[PaddedRows]]] = []

    def prepare(self, batches: Sequence[Sequence[Pair]]) -> None:
        """Lay out the rows."""
        bench = self._side.bench
        for batch in batches:
            calls = [pad_rows(bench.inputs, batch, cells, bench.device) for cells in self._calls]
            self._batches.append((batch, calls))

    def loss(self, number: int) -> Tensor:
        """Return the mean loss of one batch."""
        pairs, calls = self._batches[number]
        bench = self._side.bench
        logps: dict[Cell, Tensor] = {}
        reference: dict[Cell, Tensor] = {}
        lengths: dict[Cell, Tensor] = {}
        with bench.autocast():
            for cells, rows in zip(self._calls, calls, strict=True):
                found = self._side.policy_logps(rows).chunk(len(cells))
                before = self._side.reference_logps(rows).chunk(len(cells))
                lengths |= zip(cells, rows.responses.sum(1).chunk(len(cells)), strict=True)
                for cell, new, old in zip(cells, found, before, strict=True):
                    # Each term of the official loss has its own copy of (m, yw): half the gradient from each.
                    logps[cell] = (logps[cell] + new) / 2 if cell in logps else new
                    reference[cell] = old
        weight = torch.tensor([pair.weight or 0.0 for pair in pairs], device=bench.device)
        return bench.objective.loss(Scores(logps, reference, lengths, weight)).mean()


def response_logps(model: nn.Module, rows: PaddedRows) -> Float[Tensor, " rows"]:
    """Return log π of each row's response, in nats, from the logits at all positions."""
    logits = model(
        input_ids=rows.ids, attention_mask=rows.mask, pixel_values=rows.pixels, use_cache=False
    ).logits[:, :-1]
    targets, wanted = rows.ids[:, 1:], rows.responses[:, 1:]
    tokens = logits.float().log_softmax(-1).gather(2, targets[..., None])[..., 0]
    total: Tensor = (tokens * wanted).sum(1)
    return total
