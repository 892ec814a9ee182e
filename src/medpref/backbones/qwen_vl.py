"""What the Qwen-VL families share: images of any size, and positions that count time, height and width."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn
from transformers import Qwen2VLImageProcessorPil

from medpref.backbones.base import ImageTensors, Rows, Size
from medpref.backbones.chat import Chat
from medpref.backbones.hf import HFBackbone, stop_tokens
from medpref.backbones.lean import make_lean, read_rows
from medpref.errors import InputError
from medpref.files import content_hash, write_text
from medpref.pairs.pair import Turn

IMAGE_PAD = "<|image_pad|>"


class QwenVLBackbone(HFBackbone):
    """What Qwen2-VL, Qwen2.5-VL and Qwen3-VL have in common.

    Args:
        model: its attention must be ``sdpa``, since eager attention misreads Boolean masks.
        tokenizer: a fast tokenizer with the model's chat template.
        processor: resizes each image to whole patches within its limits of pixels, and normalises.
        max_length: how many tokens of prompt (images included) and response fit.
        beside: texts of further files of the model's folder, by name; `save` writes them again.
    """

    shares_prefix = True
    sizes_matter = True
    parts = MappingProxyType(
        {
            "tower": ("model.visual.patch_embed", "model.visual.blocks"),
            "projector": ("model.visual.merger",),
            "language_model": ("model.language_model",),
        }
    )

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        processor: Qwen2VLImageProcessorPil,
        max_length: int,
        beside: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(model, tokenizer, processor, max_length)
        self.chat = Chat(tokenizer, IMAGE_PAD)
        self.image_token: int = model.config.image_token_id
        self.lean = make_lean(model.model.language_model, max_length)
        """Whether the decoder's layers compute only what is needed; off, the library's own layers run."""
        # Images may enter behind the first layers too, one of which must not be the last.
        self.trim = len(model.model.language_model.layers) >= len(self._mergers())
        """Whether the last of the lean layers computes only the columns that are read."""
        self._stops = stop_tokens(model, tokenizer, self.chat.end)
        self._beside = dict(beside or {})

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        """The end of a turn, and what else the model's own generation settings stop at."""
        return self._stops

    def image_tokens(self, size: Size) -> int:
        """Return how many tokens stand for an image of `size` pixels.

        Raises:
            InputError: one side is more than 200 times the other.
        """
        width, height = size
        try:
            patches = self.processor.get_number_of_image_patches(height, width)
        except ValueError as error:
            raise _unfit(size, error) from None
        return int(patches) // int(self.processor.merge_size) ** 2

    def prompt_ids(self, prompt: str, sizes: Sequence[Size] = (), history: Sequence[Turn] = ()) -> list[int]:
        """Return the ids of a prompt in the chat template, each image as many tokens as its size takes.

        Raises:
            InputError: there are more or fewer sizes than images, or one that no image can have.
        """
        return self.chat.prompt_ids(prompt, history, [IMAGE_PAD * self.image_tokens(size) for size in sizes])

    def response_ids(self, response: str) -> list[int]:
        """Return the ids of a response and its end token."""
        return self.chat.response_ids(response)

    def read_image(self, image: Image.Image) -> ImageTensors:
        """Return ``pixel_values`` (patches, values), float32, and ``image_grid_thw`` (3,), int64.

        The grid counts patches along time (1), height and width; patches that are merged stand together.

        Raises:
            InputError: one side is more than 200 times the other.
        """
        try:
            read = self.processor(image.convert("RGB"), return_tensors="pt")
        except ValueError as error:
            raise _unfit(image.size, error) from None
        return {"pixel_values": read["pixel_values"], "image_grid_thw": read["image_grid_thw"][0]}

    def encode_images(self, images: Sequence[ImageTensors]) -> list[ImageTensors]:
        """Run the vision tower: what its mergers take in.

        Returns:
            ``patches`` (patches, tower_width) and ``grid`` (3,) of each image; Qwen3-VL's also ``deepstack``
            (layers, patches, tower_width), the states of earlier layers.
        """
        if not images:
            return []
        grids = torch.stack([image["image_grid_thw"] for image in images])
        pixels = torch.cat([image["pixel_values"] for image in images])
        visual = self.model.model.visual
        with (
            torch.set_grad_enabled(torch.is_grad_enabled() and self.tower_trains),
            _entering(self._mergers(), visual.spatial_merge_size**2) as entered,
        ):
            visual(pixels, grid_thw=grids)
        states = self._by_name(self._ordered(entered, grids))
        return _apart(states, grids.prod(-1).tolist(), grids)

    def project(self, encoded: Sequence[ImageTensors]) -> list[ImageTensors]:
        """Merge patches into the language model's embedding space.

        Returns:
            ``tokens`` (image_tokens, width) and ``grid`` (3,) of each image; Qwen3-VL's also ``deepstack``
            (layers, image_tokens, width).
        """
        if not encoded:
            return []
        grids = torch.stack([image["grid"] for image in encoded])
        joined = {
            name: torch.cat([image[name] for image in encoded], dim=-2)
            for name in encoded[0]
            if name != "grid"
        }
        unit = self.model.model.visual.spatial_merge_size**2
        return _apart(self._merge(joined), [count // unit for count in grids.prod(-1).tolist()], grids)

    def read_states(
        self, rows: Rows, features: Sequence[ImageTensors]
    ) -> Float[Tensor, "rows queries width"]:
        """Return the last hidden states at `rows.queries`; images are spliced in at their tokens."""
        shown = [features[image] for row in rows.images for image in row]
        embeds = self.model.get_input_embeddings()(rows.ids)
        is_image = rows.ids == self.image_token
        if shown:
            tokens = torch.cat([image["tokens"] for image in shown])
            embeds = embeds.masked_scatter(is_image[..., None], tokens.to(embeds.dtype))
        decoder = self.model.model.language_model
        run = partial(
            decoder,
            inputs_embeds=embeds,
            position_ids=self.positions(rows, features),
            use_cache=False,
            **(self._beside_tokens(is_image, shown) if shown else {}),
        )
        return read_rows(run, decoder, rows, lean=self.lean, trim=self.trim, recompute=self.recompute)

    def positions(self, rows: Rows, features: Sequence[ImageTensors]) -> Int[Tensor, "3 rows tokens"]:
        """Return the positions along time, height and width.

        An image takes as many positions as the longer side of its grid has tokens, not as many as it has
        tokens; what follows it counts on from there (arXiv:2409.12191, section 2.1). All images stand before
        a row's first branch, so that what lies behind them is moved by the same amount on every path.
        """
        positions = rows.positions.expand(3, -1, -1)
        shown = [number for number, images in enumerate(rows.images) if images]
        if not shown:
            return positions
        ids = rows.ids[shown]
        is_image = ids == self.image_token
        columns = torch.arange(1, ids.shape[1] + 1, device=ids.device)
        stem = columns <= (is_image * columns).amax(1, keepdim=True)
        inside, moved = self.model.model.get_rope_index(
            ids,
            mm_token_type_ids=is_image.int(),
            image_grid_thw=torch.stack([features[image]["grid"] for row in rows.images for image in row]),
            attention_mask=stem,
        )
        positions = positions.clone()
        positions[:, shown] = torch.where(stem, inside, rows.positions[shown] + moved)
        return positions

    def generation_inputs(
        self, tokens: Int[Tensor, "rows tokens"], images: Sequence[Sequence[ImageTensors]]
    ) -> dict[str, Any]:
        """Return patches, grids, and which tokens stand for images."""
        shown = [image for row in images for image in row]
        if not shown:
            return {}
        return {
            "pixel_values": torch.cat([image["pixel_values"] for image in shown]),
            "image_grid_thw": torch.stack([image["image_grid_thw"] for image in shown]),
            "mm_token_type_ids": (tokens == self.image_token).int(),
        }

    def fingerprint(self, part: Literal["all", "tower"] = "all") -> str:
        """Return a hash of the weights, the configuration, the image processor and the chat template."""
        known = super().fingerprint(part)
        return content_hash(known, self.tokenizer.chat_template) if part == "all" else known

    def save(self, folder: Path) -> None:
        """Write model, tokenizer with chat template, image processor and what else lay in the folder."""
        super().save(folder)
        for name, text in self._beside.items():
            write_text(folder / name, text)

    def _mergers(self) -> list[nn.Module]:
        """Return the modules that take in what is kept of the tower, the last layer's first."""
        return [self.model.model.visual.merger]

    def _ordered(
        self, states: Sequence[Float[Tensor, "patches width"]], grids: Int[Tensor, "images 3"]
    ) -> Sequence[Float[Tensor, "patches width"]]:
        """Return the tower's states with each image's patches in the order that they were read in."""
        return states

    def _by_name(self, states: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the mergers' inputs by name, patches along the last axis but one."""
        return {"patches": states[0]}

    def _merge(self, states: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the mergers' outputs by name, tokens along the last axis but one."""
        return {"tokens": self.model.model.visual.merger(states["patches"])}

    def _beside_tokens(self, is_image: Tensor, shown: Sequence[ImageTensors]) -> dict[str, Any]:
        """Return what the decoder takes of images beside their tokens."""
        return {}


@contextmanager
def _entering(mergers: Sequence[nn.Module], unit: int) -> Iterator[list[Tensor]]:
    """Note what each of `mergers` is called with, and let it compute nothing.

    Args:
        mergers: called by the tower's forward pass, which needs as many tokens back as they would return.
        unit: how many patches make a token.
    """
    entered: list[Tensor] = [torch.empty(0)] * len(mergers)

    def note(number: int) -> Any:
        def forward(states: Tensor) -> Tensor:
            entered[number] = states
            return states.view(-1, states.shape[-1])[: states[..., 0].numel() // unit]

        return forward

    try:
        for number, merger in enumerate(mergers):
            merger.forward = note(number)
        yield entered
    finally:
        for merger in mergers:
            vars(merger).pop("forward", None)


def _apart(
    states: Mapping[str, Tensor], lengths: list[int], grids: Int[Tensor, "images 3"]
) -> list[ImageTensors]:
    """Return each image's part of tensors in which all images follow one another."""
    parts = {name: torch.split(state, lengths, dim=-2) for name, state in states.items()}
    return [
        {**{name: part[number] for name, part in parts.items()}, "grid": grid}
        for number, grid in enumerate(grids)
    ]


def _unfit(size: Size, error: ValueError) -> InputError:
    return InputError(
        f"an image of {size[0]} × {size[1]} pixels cannot be resized: {error}",
        remedy="Crop it, or leave it out.",
    )
