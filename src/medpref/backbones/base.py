"""The small interface that the rest of medpref sees of a vision-language model."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor, nn


class Rows(NamedTuple):
    """Token rows for one language-model call.

    Attributes:
        ids: token ids, image positions filled with the image token.
        positions: position ids; branches of one prefix restart at its end.
        trunk: how many columns at the left are plainly causal in all rows.
        allowed: which key (last axis) each column behind the trunk may see.
        queries: the columns whose last hidden states are read; short rows are filled with column 0.
        visible: which key (last axis) each of `queries` may see.
        images: for each row, the indices of its images into the features handed over with it.
    """

    ids: Int[Tensor, "rows tokens"]
    positions: Int[Tensor, "rows tokens"]
    trunk: int
    allowed: Bool[Tensor, "rows branches tokens"]
    queries: Int[Tensor, "rows queries"]
    visible: Bool[Tensor, "rows queries tokens"]
    images: tuple[tuple[int, ...], ...]

    def to(self, device: torch.device) -> "Rows":
        """Return the rows with their tensors on `device`."""
        ids, positions, trunk, allowed, queries, visible, images = self
        return Rows(
            ids.to(device),
            positions.to(device),
            trunk,
            allowed.to(device),
            queries.to(device),
            visible.to(device),
            images,
        )

    def mask(self) -> Bool[Tensor, "rows tokens tokens"]:
        """Return which key each column may see, the trunk's columns included."""
        rows, tokens = self.ids.shape
        causal = torch.ones(self.trunk, tokens, dtype=torch.bool, device=self.ids.device).tril()
        return torch.cat([causal.expand(rows, -1, -1), self.allowed], dim=1)


class Backbone(ABC):
    """A loaded model with its tokenizer, template and image processor."""

    model: nn.Module
    max_length: int
    """How many tokens of prompt (images included) and response fit."""
    image_token: int
    """The id that stands at image positions."""
    pad_token: int
    """The id that fills short rows."""
    shares_prefix: bool = False
    """Whether `read_states` honours `Rows.allowed` and `Rows.positions`: branches may then share a prefix."""

    recompute: bool = False
    """Whether cheap activations are computed again in the backward pass, where the backbone can do so."""

    @abstractmethod
    def prompt_ids(self, prompt: str) -> list[int]:
        """Return the ids of a prompt in the chat template, image tokens in place."""

    @abstractmethod
    def response_ids(self, response: str) -> list[int]:
        """Return the ids of a response and its end token."""

    @abstractmethod
    def pixel_values(self, image: Image.Image) -> Float[Tensor, "channels height width"]:
        """Return one image as the vision tower takes it: resized, normalised, float32."""

    @abstractmethod
    def encode_images(
        self, pixels: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images patches tower_width"]:
        """Run the vision tower on distinct images; what a frozen tower returns may be kept and used again."""

    @abstractmethod
    def project(
        self, encoded: Float[Tensor, "images patches tower_width"]
    ) -> Float[Tensor, "images image_tokens width"]:
        """Bring what `encode_images` returned into the language model's embedding space."""

    @abstractmethod
    def read_states(
        self, rows: Rows, features: Float[Tensor, "images image_tokens width"]
    ) -> Float[Tensor, "rows queries width"]:
        """Return the last hidden states at `rows.queries`, the rows' images taken from `features`."""

    @property
    @abstractmethod
    def tower_trains(self) -> bool:
        """Whether some weight of the vision tower is trained: its output then changes from step to step."""

    @abstractmethod
    def fingerprint(self, part: Literal["all", "tower"] = "all") -> str:
        """Return a hash of everything that `part`'s output depends on: weights, configuration, preprocessing.

        The tower's part is its weights, its configuration and the image processor's.
        """

    @abstractmethod
    def logits(self, hidden: Float[Tensor, "positions width"]) -> Float[Tensor, "positions vocabulary"]:
        """Apply the LM head; only the tokens that can be said are scored."""

    @abstractmethod
    def generate(
        self,
        prompts: Sequence[str],
        pixels: Float[Tensor, "images channels height width"] | None,
        images: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        """Answer each prompt in one batch.

        Args:
            prompts: the users' texts.
            pixels: the images that the prompts show.
            images: for each prompt, the indices of its images into `pixels`.
            max_new_tokens: the longest answer.
            temperature: 0 takes the likeliest token each time; above it, tokens are drawn from the whole
                distribution at this temperature.
            seed: of the draws: the same batch with the same seed is answered alike, whatever was drawn
                before.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write a plain Hugging Face folder (safetensors) that `load` reads back."""

    @abstractmethod
    def load_weights(self, folder: Path) -> None:
        """Read the weights of a folder that `save` or the trainer wrote into the model as it stands.

        Raises:
            InputError: a tensor is missing, left over or of the wrong shape.
        """

    @abstractmethod
    def freeze(self, parts: Sequence[str]) -> None:
        """Stop training of parts (tower, projector, language_model). Raises `InputError` for others."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device
