"""Reference log-probs: what the untouched starting weights say, computed once before training."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from medpref.errors import InputError
from medpref.files import write_bytes
from medpref.pairs.pair import Pair
from medpref.pairs.store import group_by_image
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer


class ReferenceLogps:
    """Summed response log-probs of pairs under the reference model, by cell.

    Args:
        ids: the pairs' ids.
        values: for each cell, one value a pair, in nats; float32.
    """

    def __init__(self, ids: Sequence[str], values: Mapping[Cell, Float[Tensor, " pairs"]]) -> None:
        self.ids = tuple(ids)
        self.values = dict(values)
        self._rows = {ident: row for row, ident in enumerate(self.ids)}

    def look_up(self, pairs: Sequence[Pair], cells: Sequence[Cell]) -> dict[Cell, Float[Tensor, " pairs"]]:
        """Return the values of `pairs` in `cells`.

        Raises:
            InputError: a pair or a cell was not part of the reference pass.
        """
        try:
            rows = torch.tensor([self._rows[pair.id] for pair in pairs])
            return {cell: self.values[cell][rows] for cell in cells}
        except KeyError as error:
            raise InputError(
                f"there is no reference log-prob for {error}", remedy="Compute the reference on these pairs."
            ) from None

    def save(self, path: Path) -> None:
        """Write the values as safetensors, whole or not at all."""
        tensors = {cell.key: values.contiguous() for cell, values in self.values.items()}
        write_bytes(path, save(tensors, metadata={"ids": json.dumps(self.ids)}))

    @classmethod
    def load(cls, path: Path) -> "ReferenceLogps":
        """Read what `save` wrote."""
        with safe_open(path, framework="pt") as file:
            ids = json.loads(file.metadata()["ids"])
            return cls(ids, {cell: file.get_tensor(cell.key) for cell in Cell if cell.key in file.keys()})  # noqa: SIM118


@torch.no_grad()
def compute_reference(
    scorer: Scorer,
    pairs: Sequence[Pair],
    cells: Sequence[Cell],
    *,
    images_per_batch: int = 32,
    advance: Callable[[int], None] = lambda _: None,
) -> ReferenceLogps:
    """Score all `pairs` in `cells` with the scorer's model as it stands.

    Args:
        scorer: scores with the starting weights, in evaluation mode.
        pairs: all pairs that will be trained on.
        cells: the union of the cells that the objectives need.
        images_per_batch: groups scored at a time.
        advance: called with the number of pairs done, for progress.
    """
    was_training = scorer.backbone.model.training
    scorer.backbone.model.eval()
    groups = group_by_image(pairs, largest=len(pairs) or 1)
    done: list[Pair] = []
    parts: dict[Cell, list[Float[Tensor, " pairs"]]] = {cell: [] for cell in cells}
    for start in range(0, len(groups), images_per_batch):
        batch = [pair for group in groups[start : start + images_per_batch] for pair in group]
        for cell, score in scorer.score(batch, cells).items():
            parts[cell].append(score.logps.float().cpu())
        done += batch
        advance(len(batch))
    scorer.backbone.model.train(was_training)
    return ReferenceLogps(
        [pair.id for pair in done], {cell: torch.cat(values) for cell, values in parts.items()}
    )
