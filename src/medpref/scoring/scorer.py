"""Score the cells of a batch of pairs: the only place where a model's forward pass meets a loss."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from medpref.backbones.base import Backbone
from medpref.errors import InputError
from medpref.pairs.pair import Pair
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
    """

    def __init__(self, backbone: Backbone, inputs: InputCache | None = None, *, shared: bool = True) -> None:
        self.backbone = backbone
        self.inputs = inputs or InputCache(backbone)
        self.shared = shared and backbone.shares_prefix
        self.tokens = 0
        """How many tokens of rows the language model has been given so far, padding included."""

    def score(self, pairs: Sequence[Pair], cells: Sequence[Cell]) -> Mapping[Cell, CellScore]:
        """Return the scores of each of `cells` for each of `pairs`.

        Raises:
            InputError: a pair lacks a part that a cell needs, or does not fit the context.
        """
        for pair in pairs:
            for cell in cells:
                lacking = missing_part(pair, cell)
                if lacking:
                    raise InputError(f"{lacking}, which {cell.key} needs", where=f"pair {pair.id}")
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
        features = self.backbone.image_features(images.pixels) if images.numbers else images.pixels
        hidden = self.backbone.hidden(plan.rows, features).flatten(0, 1)
        log_probs = torch.log_softmax(self.backbone.logits(hidden[plan.read]), dim=-1)
        tokens = log_probs.gather(1, plan.targets[:, None])[:, 0]
        distinct = int(plan.owner.max()) + 1
        sums = torch.zeros(distinct, dtype=tokens.dtype).index_add(0, plan.owner, tokens)
        counts = torch.bincount(plan.owner, minlength=distinct)
        return sums[plan.paths], counts[plan.paths]
