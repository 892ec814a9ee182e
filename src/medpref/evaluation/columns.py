"""Many statistics over the same samples as columns of one array."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Columns(NamedTuple):
    """Statistics over the same samples, each the mean of its columns' means: balanced accuracy has two.

    Attributes:
        values: one value a sample, NaN where the sample does not count in the column.
        owner: the statistic that each column belongs to, counted from 0 without gaps and ascending.
    """

    values: Float[np.ndarray, "samples columns"]
    owner: Int[np.ndarray, "columns"]

    @property
    def share(self) -> Float[np.ndarray, "columns statistics"]:
        """The weight of each column in each statistic."""
        belongs = self.owner[:, None] == np.arange(self.owner.max(initial=-1) + 1)
        return np.asarray(belongs / np.maximum(belongs.sum(axis=0), 1))


def one_column_each(values: Float[np.ndarray, "samples columns"]) -> Columns:
    """Return columns whose means are the statistics."""
    return Columns(values, np.arange(values.shape[1]))


def side_by_side(blocks: Sequence[Columns]) -> Columns:
    """Return the statistics of all blocks as those of one: many are computed in the time of a few."""
    sizes = [int(block.owner.max(initial=-1)) + 1 for block in blocks]
    starts = np.cumsum([0, *sizes[:-1]])
    owners = [block.owner + start for block, start in zip(blocks, starts, strict=True)]
    return Columns(np.concatenate([block.values for block in blocks], axis=1), np.concatenate(owners))
