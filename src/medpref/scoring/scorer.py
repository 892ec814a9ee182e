"""Score the cells of a batch of pairs: the only place where a model's forward pass meets a loss."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from medpref.backbones.base import Backbone
from medpref.errors import InputError
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Pair
from medpref.scoring.cells import Cell, CellScore, missing_part
from medpref.scoring.inputs import InputCache
from medpref.scoring.plan import Path, make_plan


class Scorer:
    """Computes summed response log-probs for (pair, cell) combinations.

    Args:
        backbone: the model that scores.
        inputs: token ids and pixels, kept between batches.
        shared: let paths on the same images share a row; off, each cell of each pair is a row of its own.
            Both give the same numbers; where the backbone cannot share, rows are separate anyway.
        precision: fp32, or bf16 autocast; sums of log-probs are fp32 either way.
    """

    def __init__(
        self,
        backbone: Backbone,
        inputs: InputCache | None = None,
        *,
        shared: bool = True,
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> None:
        self.backbone = backbone
        self.inputs = inputs or InputCache(backbone)
        self.shared = shared and backbone.shares_prefix
        self.precision = precision
        self.tokens = 0
        """How many tokens of rows the language model has been given so far, padding included."""

    def score(self, pairs: Sequence[Pair], cells: Sequence[Cell]) -> Mapping[Cell, CellScore]:
        """Return the scores of each of `cells` for each of `pairs`.

        Raises:
            InputError: a pair lacks a part that a cell needs, its prompt has another number of ``<image>``
                than the cell has images, or it does not fit the context.
        """
        for pair in pairs:
            for cell in cells:
                lacking = missing_part(pair, cell)
                if lacking:
                    raise InputError(f"{lacking}, which {cell.key} needs", where=f"pair {pair.id}")
                _check_placeholders(pair, cell)
        logps, lengths = self._score_paths(pairs, cells)
        shape = (len(cells), len(pairs))
        by_cell = zip(cells, logps.view(shape), lengths.view(shape), strict=True)
        return {cell: CellScore(values, counts) for cell, values, counts in by_cell}

    def _score_paths(
        self, pairs: Sequence[Pair], cells: Sequence[Cell]
    ) -> tuple[Float[Tensor, " asked"], Int[Tensor, " asked"]]:
        """Score every pair in every cell, cell by cell."""
        images = self.inputs.batch_images(pairs, [cell.image for cell in cells])
        paths = [
            Path(images.indices(pair, cell.image), *self.inputs.ids(pair, cell.response))
            for cell in cells
            for pair in pairs
        ]
        plan = make_plan(paths, image_token=self.inputs.image_token, pad=self.inputs.pad, shared=self.shared)
        self.tokens += plan.rows.ids.numel()
        device = self.backbone.device
        plan = plan.to(device)
        pixels = images.pixels.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            features = self.backbone.image_features(pixels) if images.numbers else pixels
            hidden = self.backbone.hidden(plan.rows, features).flatten(0, 1)
            logits = self.backbone.logits(hidden[plan.read])
        tokens = torch.log_softmax(logits.float(), dim=-1).gather(1, plan.targets[:, None])[:, 0]
        distinct = int(plan.owner.max()) + 1
        sums = torch.zeros(distinct, dtype=tokens.dtype, device=device).index_add(0, plan.owner, tokens)
        counts = torch.bincount(plan.owner, minlength=distinct)
        return sums[plan.paths], counts[plan.paths]


def _check_placeholders(pair: Pair, cell: Cell) -> None:
    """Check that a prompt has a place for each image: otherwise images of a batch would change places.

    Raises:
        InputError: it has more or fewer.
    """
    places, images = pair.prompt.count(IMAGE_PLACEHOLDER), len(pair.images.get(cell.image, ()))
    if places != images:
        raise InputError(
            f"{places} {IMAGE_PLACEHOLDER} in the prompt for {images} {cell.image} images",
            where=f"pair {pair.id}",
        )
