"""How answers are drawn: greedily, or each from a stream of random numbers of its own."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from transformers import LogitsProcessor, TopKLogitsWarper, TopPLogitsWarper

from medpref.registry import Registry


class Sampling(BaseModel):
    """How a model answers.

    Attributes:
        max_new_tokens: the longest answer.
        temperature: 0 takes the likeliest token each time; above it, tokens are drawn.
        top_p: draw from the likeliest tokens that together have this probability; 1 is all.
        top_k: draw from this many likeliest tokens; 0 is all.
        seed: of the draws.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_new_tokens: int = Field(64, ge=1)
    temperature: float = Field(0.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    seed: int = 0


GREEDY = Sampling()
# The study's settings: sampled once at temperature 0.8, though greedy answers compare better.
sampling_presets: Registry[Sampling] = Registry("sampling preset")
sampling_presets.add("greedy", GREEDY)
sampling_presets.add("study", Sampling(max_new_tokens=1024, temperature=0.8))


class Completion(NamedTuple):
    """What a model said.

    Attributes:
        text: the answer, without special tokens.
        tokens: how many tokens were generated, the end token included.
        stopped: whether an end token closed the answer; otherwise it was cut off at its longest.
    """

    text: str
    tokens: int
    stopped: bool


class Draw(LogitsProcessor):  # type: ignore[misc]
    """Draws each row's next token and leaves that one alone possible, so that greedy choice takes it.

    A row draws one number for each token from a generator of its own. What it draws depends on neither the
    other rows nor on what was drawn before, as the library's multinomial sampling does.

    Args:
        sampling: temperature above 0, and which tokens may be drawn.
        seeds: one for each row.
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int]) -> None:
        self._temperature = sampling.temperature
        self._top_k = TopKLogitsWarper(sampling.top_k) if sampling.top_k else None
        self._top_p = TopPLogitsWarper(sampling.top_p) if sampling.top_p < 1 else None
        # Generators take 64 bits; a seed may be any integer.
        self._generators = [torch.Generator().manual_seed(seed % 2**63) for seed in seeds]

    def __call__(
        self, input_ids: Int[Tensor, "rows tokens"], scores: Float[Tensor, "rows vocabulary"]
    ) -> Float[Tensor, "rows vocabulary"]:
        """Return scores of which one token a row is 0 and all others −∞."""
        # In float64: in float32 a sum over 150 thousand tokens is off by more than many of their shares. The
        # largest score is 0, so that a small temperature makes the others −∞ and none of them infinite.
        heat = scores.double()
        heat = (heat - heat.max(-1, keepdim=True).values) / self._temperature
        for warper in (self._top_k, self._top_p):
            if warper is not None:
                heat = warper(input_ids, heat)
        below = heat.softmax(-1).cumsum(-1)
        whole = below[:, -1:]
        drawn = [torch.rand(1, generator=each, dtype=torch.float64) for each in self._generators]
        # Below the whole, whatever rounding does, and to the right of equal sums: a token of no probability
        # takes no draw.
        places = (torch.stack(drawn).to(whole.device) * whole).minimum(
            whole.nextafter(torch.zeros_like(whole))
        )
        token = torch.searchsorted(below, places, right=True)
        return torch.full_like(scores, float("-inf")).scatter_(1, token, 0.0)
