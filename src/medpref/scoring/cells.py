"""Cells: the (image, response) combinations that an objective needs scored. Only four exist."""

from enum import Enum
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from medpref.pairs.pair import ImageRole, Pair, ResponseRole


class Cell(Enum):
    """One image role with one response role; m is the clean and m' the rejected image."""

    CLEAN_CHOSEN = (ImageRole.CLEAN, ResponseRole.CHOSEN)
    CLEAN_REJECTED = (ImageRole.CLEAN, ResponseRole.REJECTED)
    REJECTED_CHOSEN = (ImageRole.REJECTED, ResponseRole.CHOSEN)
    REJECTED_REJECTED = (ImageRole.REJECTED, ResponseRole.REJECTED)

    @property
    def image(self) -> ImageRole:
        """Which version of the image the cell looks at."""
        return self.value[0]

    @property
    def response(self) -> ResponseRole:
        """Which response the cell scores."""
        return self.value[1]

    @property
    def key(self) -> str:
        """The cell's name in files, such as ``clean/chosen``."""
        return f"{self.image}/{self.response}"


class CellScore(NamedTuple):
    """Scores of one cell for a batch of pairs.

    Attributes:
        tokens: log-prob of each response token, the end token included, in nats; float32. Zero behind a
            response's end.
        lengths: how many response tokens there are; int64.
    """

    tokens: Float[Tensor, "pairs tokens"]
    lengths: Int[Tensor, " pairs"]

    @property
    def logps(self) -> Float[Tensor, " pairs"]:
        """The responses' log-probs: the sums over their tokens, in nats."""
        return self.tokens.sum(1)


def missing_part(pair: Pair, cell: Cell) -> str | None:
    """Return what `pair` lacks for `cell`, or None."""
    if cell.response not in pair.responses:
        return f"no {cell.response} response"
    # A text-only pair has no image in any role: all its image roles are the same, empty one.
    if cell.image is ImageRole.REJECTED and cell.image not in pair.images:
        return "no rejected image"
    return None
