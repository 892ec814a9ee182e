"""The forward pass as a module, so that distributed wrappers see one call with all weights below it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medpref.backbones.base import Backbone
from medpref.scoring.plan import Plan


class ScoringModel(nn.Module):
    """From a plan and its images to the log-probs of response tokens.

    Args:
        backbone: whose model's weights are this module's, below the name ``model``.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.model = backbone.model
        self._backbone = backbone

    def forward(
        self, plan: Plan, pixels: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, " response_tokens"]:
        """Return log π of every response token of `plan`, in nats; float32."""
        backbone = self._backbone
        features = backbone.project(backbone.encode_images(pixels)) if len(pixels) else pixels[:, 0]
        states = backbone.read_states(plan.rows, features, plan.read)
        logits = backbone.logits(states).float()
        return torch.log_softmax(logits, dim=-1).gather(1, plan.targets[:, None])[:, 0]
