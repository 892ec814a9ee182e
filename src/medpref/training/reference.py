"""Reference log-probs: what the untouched starting weights say, computed once before training."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from medpref.errors import InputError
from medpref.files import write_bytes
from medpref.pairs.pair import Pair
from medpref.pairs.store import group_by_image
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer


class ReferenceLogps:
    """Log-probs of pairs' response tokens under the reference model, by cell.

    Args:
        ids: the pairs' ids.
        values: for each cell, the tokens' log-probs of one pair after the other, in nats; float32.
        lengths: for each cell, how many tokens each pair's response has.
    """

    def __init__(
        self,
        ids: Sequence[str],
        values: Mapping[Cell, Float[Tensor, " tokens"]],
        lengths: Mapping[Cell, Int[Tensor, " pairs"]],
    ) -> None:
        self.ids = tuple(ids)
        self.values = dict(values)
        self.lengths = dict(lengths)
        self._rows = {ident: row for row, ident in enumerate(self.ids)}
        self._ends = {cell: counts.cumsum(0) for cell, counts in self.lengths.items()}

    def look_up(
        self, pairs: Sequence[Pair], cells: Sequence[Cell]
    ) -> dict[Cell, Float[Tensor, "pairs tokens"]]:
        """Return the tokens' log-probs of `pairs` in `cells`, zero behind each response's end.

        Raises:
            InputError: a pair or a cell was not part of the reference pass.
        """
        try:
            rows = [self._rows[pair.id] for pair in pairs]
            return {cell: self._table(cell, rows) for cell in cells}
        except KeyError as error:
            raise InputError(
                f"there is no reference log-prob for {error}", remedy="Compute the reference on these pairs."
            ) from None

    def _table(self, cell: Cell, rows: Sequence[int]) -> Float[Tensor, "pairs tokens"]:
        ends, lengths = self._ends[cell], self.lengths[cell]
        parts = [self.values[cell][ends[row] - lengths[row] : ends[row]] for row in rows]
        return pad_sequence(parts, batch_first=True)

    def save(self, path: Path) -> None:
        """Write the values as safetensors, whole or not at all."""
        tensors = {cell.key: values.contiguous() for cell, values in self.values.items()}
        lengths = {f"{cell.key}/lengths": counts.contiguous() for cell, counts in self.lengths.items()}
        write_bytes(path, save({**tensors, **lengths}, metadata={"ids": json.dumps(self.ids)}))

    @classmethod
    def load(cls, path: Path) -> "ReferenceLogps":
        """Read what `save` wrote."""
        with safe_open(path, framework="pt") as file:
            ids = json.loads(file.metadata()["ids"])
            cells = [cell for cell in Cell if cell.key in file.keys()]  # noqa: SIM118
            values = {cell: file.get_tensor(cell.key) for cell in cells}
            return cls(ids, values, {cell: file.get_tensor(f"{cell.key}/lengths") for cell in cells})


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
    tokens: dict[Cell, list[Tensor]] = {cell: [] for cell in cells}
    lengths: dict[Cell, list[Tensor]] = {cell: [] for cell in cells}
    for start in range(0, len(groups), images_per_batch):
        batch = [pair for group in groups[start : start + images_per_batch] for pair in group]
        for cell, score in scorer.score(batch, cells).items():
            inside = torch.arange(score.tokens.shape[1], device=score.tokens.device) < score.lengths[:, None]
            tokens[cell].append(score.tokens[inside].float().cpu())
            lengths[cell].append(score.lengths.cpu())
        done += batch
        advance(len(batch))
    scorer.backbone.model.train(was_training)
    return ReferenceLogps(
        [pair.id for pair in done],
        {cell: torch.cat(values) for cell, values in tokens.items()},
        {cell: torch.cat(counts) for cell, counts in lengths.items()},
    )
