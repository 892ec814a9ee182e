"""What every backbone's tests ask: rows that share a prefix give the numbers of separate ones."""

from collections.abc import Sequence

import torch
from torch import Tensor

from medpref.backbones.base import Backbone
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer


def scores_and_gradients(
    backbone: Backbone, pairs: Sequence[Pair], cells: Sequence[Cell], *, shared: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the log-probs of all response tokens of all cells, and the gradients of a mixed sum of them."""
    backbone.model.zero_grad()
    scores = Scorer(backbone, shared=shared).score(pairs, cells)
    tokens = torch.cat([scores[cell].tokens.flatten() for cell in cells])
    # Unequal weights: gradients of a plain sum could cancel out.
    (tokens * torch.linspace(0.5, 1.5, len(tokens))).sum().backward()
    gradients = {
        name: weight.grad.clone()
        for name, weight in backbone.model.named_parameters()
        if weight.grad is not None
    }
    return tokens.detach(), gradients


def check_sharing(backbone: Backbone, pairs: Sequence[Pair], cells: Sequence[Cell]) -> None:
    """Check that shared rows are separate rows: values to 1e-5, gradients to 1e-5 of the largest."""
    assert backbone.shares_prefix
    apart, wanted = scores_and_gradients(backbone, pairs, cells, shared=False)
    together, found = scores_and_gradients(backbone, pairs, cells, shared=True)
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert (found[name] - gradient).abs().max() <= 1e-5 * max(1.0, float(gradient.abs().max())), name
