"""Padded rows, one for each response on each image: how other trainers lay out a batch of pairs."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.inputs import InputCache


class PaddedRows(NamedTuple):
    """Rows padded at the right, cell by cell and pair by pair within a cell.

    Attributes:
        ids: token ids.
        mask: 1 where there is a token, 0 where there is padding.
        responses: 1 where a response's token stands.
        pixels: one image for each row: an image that two rows show stands here twice.
    """

    ids: Int[Tensor, "rows tokens"]
    mask: Int[Tensor, "rows tokens"]
    responses: Int[Tensor, "rows tokens"]
    pixels: Float[Tensor, "rows channels height width"]


def pad_rows(
    inputs: InputCache, pairs: Sequence[Pair], cells: Sequence[Cell], device: torch.device
) -> PaddedRows:
    """Lay out each of `pairs` in each of `cells`."""
    asked = [(pair, cell) for cell in cells for pair in pairs]
    texts = [inputs.ids(pair, cell) for pair, cell in asked]
    longest = max(len(prompt) + len(response) for prompt, response in texts)
    ids = torch.full((len(asked), longest), inputs.pad)
    mask, responses = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, (prompt, response) in enumerate(texts):
        end = len(prompt) + len(response)
        ids[row, :end] = torch.tensor(prompt + response)
        mask[row, :end] = 1
        responses[row, len(prompt) : end] = 1
    pixels = torch.stack(
        [inputs.image(path)["pixel_values"] for pair, cell in asked for path in pair.images[cell.image]]
    )
    return PaddedRows(*(tensor.to(device) for tensor in (ids, mask, responses, pixels)))
