"""The small interface that the rest of medpref sees of a vision-language model."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor, nn

from medpref.backbones.sampling import GREEDY, Completion, Sampling
from medpref.errors import InputError, did_you_mean
from medpref.pairs.pair import Turn

ImageTensors: TypeAlias = Mapping[str, Tensor]
"""The named tensors that stand for one image; their names and shapes are the family's own affair."""
Size: TypeAlias = tuple[int, int]
"""The width and height of an image in pixels."""


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

    parts: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """The modules below `model` that make up each part: tower, projector, language_model."""
    sizes_matter: ClassVar[bool] = False
    """Whether the number of tokens that stand for an image depends on its size."""

    model: nn.Module
    max_length: int
    """How many tokens of prompt (images included) and response fit."""
    image_token: int
    """The id that stands at image positions."""
    pad_token: int
    """The id that fills short rows."""
    shares_prefix: bool = False
    """Whether `read_states` honours `Rows.allowed` and `Rows.positions`: branches may then share a prefix."""
    shares_stems: bool = False
    """Whether `complete` reads once what prompts share up to their last image."""
    keeps_features: bool = True
    """Whether `encode_images` runs the vision tower, so that what it returns is worth keeping."""

    recompute: bool = False
    """Whether cheap activations are computed again in the backward pass, where the backbone can do so."""

    @abstractmethod
    def prompt_ids(self, prompt: str, sizes: Sequence[Size] = (), history: Sequence[Turn] = ()) -> list[int]:
        """Return the ids of a prompt in the chat template, image tokens in place.

        Args:
            prompt: the user's text, one ``<image>`` for each image.
            sizes: of the images that history and prompt show, in order; needed where `sizes_matter`.
            history: earlier turns; their images come before the prompt's.
        """

    @abstractmethod
    def response_ids(self, response: str) -> list[int]:
        """Return the ids of a response and its end token."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens left out, without blanks at its ends."""

    @property
    @abstractmethod
    def stop_tokens(self) -> tuple[int, ...]:
        """The ids that end an answer."""

    @abstractmethod
    def read_image(self, image: Image.Image) -> ImageTensors:
        """Return one image as the vision tower takes it: resized, normalised; float32, on the CPU."""

    @abstractmethod
    def encode_images(self, images: Sequence[ImageTensors]) -> list[ImageTensors]:
        """Run the vision tower on distinct images; what a frozen tower returns may be kept and used again.

        Args:
            images: what `read_image` returned, on the model's device.
        """

    @abstractmethod
    def project(self, encoded: Sequence[ImageTensors]) -> list[ImageTensors]:
        """Bring what `encode_images` returned into the language model's embedding space."""

    @abstractmethod
    def read_states(
        self, rows: Rows, features: Sequence[ImageTensors]
    ) -> Float[Tensor, "rows queries width"]:
        """Return the last hidden states at `rows.queries`, the rows' images taken from `features`.

        Args:
            rows: the tokens; each row's images stand before its first branch.
            features: what `project` returned for the distinct images.
        """

    @abstractmethod
    def fingerprint(self, part: Literal["all", "tower"] = "all") -> str:
        """Return a hash of everything that `part`'s output depends on: weights, configuration, preprocessing.

        The tower's part is its weights, its configuration and the image processor's.
        """

    @abstractmethod
    def logits(self, hidden: Float[Tensor, "positions width"]) -> Float[Tensor, "positions vocabulary"]:
        """Apply the LM head; only the tokens that can be said are scored."""

    @abstractmethod
    def complete(
        self,
        prompts: Sequence[Sequence[int]],
        images: Sequence[Sequence[ImageTensors]],
        sampling: Sampling = GREEDY,
        seeds: Sequence[int] | None = None,
    ) -> list[Completion]:
        """Answer each prompt in one batch, and tell how each answer ended.

        Prompt and answer together are never longer than `max_length`.

        Args:
            prompts: what `prompt_ids` returned.
            images: for each prompt, what `read_image` returned for its images; on any device.
            sampling: greedy, or drawn from a distribution; the longest answer.
            seeds: of each prompt's draws; `sampling.seed` for all by default. The same prompt with the same
                seed is answered alike, whatever stands beside it in the batch and was drawn before.

        Raises:
            InputError: a prompt leaves no room for an answer.
        """

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        images: Sequence[Sequence[ImageTensors]],
        sampling: Sampling = GREEDY,
        seeds: Sequence[int] | None = None,
    ) -> list[str]:
        """Return the texts of `complete`. Raises as it does."""
        return [completion.text for completion in self.complete(prompts, images, sampling, seeds)]

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write a plain Hugging Face folder (safetensors) that `load_backbone` reads back."""

    @abstractmethod
    def load_weights(self, folder: Path) -> None:
        """Read the weights of a folder that `save` or the trainer wrote into the model as it stands.

        Raises:
            InputError: a tensor is missing, left over or of the wrong shape.
        """

    def blank(self, image: ImageTensors) -> ImageTensors:
        """Return a uniform image in the images' mean colour in place of `image`: normalised, that is 0."""
        return {
            name: torch.zeros_like(tensor) if tensor.is_floating_point() else tensor
            for name, tensor in image.items()
        }

    def freeze(self, parts: Iterable[str]) -> None:
        """Stop training of parts (tower, projector, language_model). Raises `InputError` for others."""
        for part in parts:
            for module in self._part(part):
                module.requires_grad_(False)

    @property
    def tower_trains(self) -> bool:
        """Whether some weight of the vision tower is trained: its output then changes from step to step."""
        return any(w.requires_grad for module in self._part("tower") for w in module.parameters())

    def _part(self, part: str) -> list[nn.Module]:
        if part not in self.parts:
            raise InputError(
                f"there is no part called {part!r}", where="freeze", remedy=did_you_mean(part, self.parts)
            )
        return [self.model.get_submodule(name) for name in self.parts[part]]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device


def lies_in(name: str, modules: Iterable[str]) -> bool:
    """Tell whether a weight's or layer's name lies below one of `modules`, whatever wraps the model."""
    return any(f".{module}." in f".{name}." for module in modules)


def move_images(images: Iterable[ImageTensors], device: torch.device) -> list[ImageTensors]:
    """Return the images with their tensors on `device`."""
    return [{name: tensor.to(device) for name, tensor in image.items()} for image in images]
