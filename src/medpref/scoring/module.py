"""The forward pass as a module, so that distributed wrappers see one call with all weights below it."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from medpref.backbones.base import Backbone, ImageTensors
from medpref.scoring.plan import Plan


class ScoringModel(nn.Module):
    """From a plan and its images to the log-probs of response tokens.

    Args:
        backbone: whose model's weights are this module's, below the name ``model``.
        head_chunk: how many positions the LM head scores at a time. Where there are more, the backward pass
            computes their logits again instead of keeping them: at a vocabulary of 150 thousand, 512
            positions take 300 MB in fp32.
    """

    def __init__(self, backbone: Backbone, head_chunk: int = 512) -> None:
        super().__init__()
        self.model = backbone.model
        self.head_chunk = head_chunk
        self._backbone = backbone

    def forward(
        self, plan: Plan, images: Sequence[ImageTensors], encoded: bool = False
    ) -> Float[Tensor, " response_tokens"]:
        """Return log π of every response token of `plan`, in nats; float32.

        Args:
            plan: what is to be scored.
            images: what `Backbone.read_image` returned for the distinct images, or what
                `Backbone.encode_images` did.
            encoded: which of the two.
        """
        backbone = self._backbone
        features = backbone.project(images if encoded else backbone.encode_images(images))
        states = backbone.read_states(plan.rows, features).flatten(0, 1)[plan.read]
        if len(states) <= self.head_chunk:
            return self._token_logps(states, plan.targets)
        size = self.head_chunk
        starts = range(0, len(states), size)
        chunks = [(states[start : start + size], plan.targets[start : start + size]) for start in starts]
        return torch.cat([checkpoint(self._token_logps, *chunk, use_reentrant=False) for chunk in chunks])

    def _token_logps(
        self, states: Float[Tensor, "positions width"], targets: Int[Tensor, " positions"]
    ) -> Float[Tensor, " positions"]:
        """Return log π of `targets` at `states`: the softmax runs in fp32, whatever the model computes in."""
        return -cross_entropy(self._backbone.logits(states).float(), targets, reduction="none")
