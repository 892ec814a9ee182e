"""Score the cells of a batch of pairs: the only place where a model's forward pass meets a loss."""

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from medpref.backbones.base import Backbone, ImageTensors, move_images
from medpref.errors import InputError
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Pair
from medpref.scoring.cells import Cell, CellScore, missing_part
from medpref.scoring.features import FeatureCache
from medpref.scoring.inputs import InputCache, image_indices, number_images
from medpref.scoring.module import ScoringModel
from medpref.scoring.plan import Path, Plan, make_plan


class Request(NamedTuple):
    """Pairs with the cells that they are to be scored in."""

    pairs: Sequence[Pair]
    cells: Sequence[Cell]


class Scorer:
    """Computes response log-probs for (pair, cell) combinations.

    Args:
        backbone: the model that scores.
        inputs: token ids and pixels, kept between batches.
        shared: let paths on the same images share a row; off, each cell of each pair is a row of its own.
            Both give the same numbers; where the backbone cannot share, rows are separate anyway.
        split: let attention treat columns that are plainly causal as such; off, all of them need the mask.
        precision: fp32, or bf16 autocast; log-probs are fp32 either way.
        head_chunk: how many positions the LM head scores at a time.
        features: keeps what a frozen vision tower says about images; a tower in training is run each time.
    """

    def __init__(
        self,
        backbone: Backbone,
        inputs: InputCache | None = None,
        *,
        shared: bool = True,
        split: bool = True,
        precision: Literal["fp32", "bf16"] = "fp32",
        head_chunk: int = 512,
        features: FeatureCache | None = None,
    ) -> None:
        self.backbone = backbone
        self.inputs = inputs or InputCache(backbone)
        self.shared = shared and backbone.shares_prefix
        self.split = split
        self.precision = precision
        self.features = features
        self.model = ScoringModel(backbone, head_chunk)
        """What computes; a distributed trainer hands its wrapped form to `score_all`."""
        self.tokens = 0
        """How many tokens of rows the language model has been given so far, padding included."""

    def score(self, pairs: Sequence[Pair], cells: Sequence[Cell]) -> Mapping[Cell, CellScore]:
        """Return the scores of each of `cells` for each of `pairs`. Raises as `score_all` does."""
        return self.score_all([Request(pairs, cells)])[0]

    def score_all(
        self, requests: Sequence[Request], model: nn.Module | None = None
    ) -> list[Mapping[Cell, CellScore]]:
        """Return, for each request, the scores of its cells for its pairs; all in one forward pass.

        Args:
            requests: what is to be scored; what they have in common is computed once.
            model: `self.model`, or that model wrapped for distributed training.

        Raises:
            InputError: a pair lacks a part that a cell needs, its prompt has another number of ``<image>``
                than the cell has images, or it does not fit the context.
        """
        asked = [(pair, cell) for pairs, cells in requests for cell in cells for pair in pairs]
        for pair, cell in asked:
            lacking = missing_part(pair, cell)
            if lacking:
                raise InputError(f"{lacking}, which {cell.key} needs", where=f"pair {pair.id}")
            _check_placeholders(pair, cell)
        tokens, plan = self._forward(asked, model or self.model)
        paths = iter(torch.split(plan.paths, [len(pairs) for pairs, cells in requests for _ in cells]))
        return [{cell: _cell_score(tokens, plan, next(paths)) for cell in cells} for _, cells in requests]

    def _forward(self, asked: Sequence[tuple[Pair, Cell]], model: nn.Module) -> tuple[Tensor, Plan]:
        """Return the log-probs of all response tokens in the plan's order, and the plan."""
        numbers = number_images(asked)
        paths = [
            Path(image_indices(numbers, pair, cell.image), *self.inputs.ids(pair, cell))
            for pair, cell in asked
        ]
        plan = make_plan(
            paths,
            image_token=self.inputs.image_token,
            pad=self.inputs.pad,
            shared=self.shared,
            split=self.split,
        )
        self.tokens += plan.rows.ids.numel()
        device = self.backbone.device
        plan = plan.to(device)
        images, encoded = self._images(tuple(numbers))
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return model(plan, move_images(images, device), encoded), plan

    def _images(self, paths: Sequence[FilePath]) -> tuple[list[ImageTensors], bool]:
        """Return the images as they are read, or as the frozen tower encodes them, and which of the two."""
        if self.features is None or not self.features.usable(self.backbone):
            return self.inputs.images(paths), False
        return self.features.encode(paths, self.backbone, self.inputs, self.precision), True


def _cell_score(tokens: Tensor, plan: Plan, paths: Tensor) -> CellScore:
    """Gather the tokens of some paths into a table, zero behind each response's end."""
    lengths = torch.bincount(plan.owner)
    starts = lengths.cumsum(0) - lengths
    column = torch.arange(int(lengths[paths].max()), device=tokens.device)
    inside = column < lengths[paths][:, None]
    where = (starts[paths][:, None] + column) * inside
    return CellScore(torch.where(inside, tokens[where], tokens.new_zeros(())), lengths[paths])


def _check_placeholders(pair: Pair, cell: Cell) -> None:
    """Check that a prompt has a place for each image: otherwise images of a batch would change places.

    Raises:
        InputError: it has more or fewer.
    """
    places, images = pair.placeholders, len(pair.images.get(cell.image, ()))
    if places != images:
        raise InputError(
            f"{places} {IMAGE_PLACEHOLDER} in the prompt for {images} {cell.image} images",
            where=f"pair {pair.id}",
        )
