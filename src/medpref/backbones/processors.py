"""What a model's own processor makes of conversations and images: its inputs, row by row."""

import hashlib
import inspect
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from medpref.backbones.base import ImageTensors, Size
from medpref.backbones.chat import PROBE, Chat
from medpref.errors import InputError
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Turn

SIZE = "shown_size"
"""Beside a processor's tensors: the width and height in pixels of the image that they were made of."""
PROBE_SIZE = (96, 64)
# What rows make anew for their own length, and what a processor says for training alone.
NOT_KEPT = {"input_ids", "attention_mask", "labels"}
# What calls of a processor fail with when it is given what it cannot use.
REFUSALS = (ValueError, TypeError, IndexError, KeyError, AttributeError, RuntimeError)
Join = Callable[[Sequence[Tensor]], Tensor]


class TokenTensor(NamedTuple):
    """What a processor says of each token of a prompt, kept small, and the type that it has to have."""

    values: Tensor
    dtype: torch.dtype


class ModelInputs:
    """Makes a model's inputs with the processor that comes with it.

    The processor is asked for whole prompts with images of the same sizes, since only it knows what it
    writes for an image and which further tensors go with the tokens; those are kept beside the ids.

    Args:
        processor: of the library, with a tokenizer and an image processor.
        chat: renders conversations with the processor's own marker for images.

    Raises:
        InputError: the processor cannot be asked for a prompt with an image.
    """

    def __init__(self, processor: Any, chat: Chat) -> None:
        self.processor = processor
        self.chat = chat
        self._text = chat.prompt_text(f"{IMAGE_PLACEHOLDER}\n{PROBE}")
        image = [noise(PROBE_SIZE, 0)]
        short = self._call(self._text, image)
        long = self._call(chat.prompt_text(f"{IMAGE_PLACEHOLDER}\n{PROBE} {PROBE} {PROBE}"), image)
        if short["input_ids"].shape == long["input_ids"].shape:
            raise InputError("the processor cuts or fills prompts to one length", where=self._name)
        self.image_names = tuple(name for name in short if short[name].shape == long[name].shape)
        """The tensors that belong to images; all others belong to tokens."""
        if not self.image_names:
            raise InputError("the processor makes no tensors of an image", where=self._name)
        self._answer = self._answer_columns()
        self._tokens: dict[bytes, dict[str, TokenTensor]] = {}
        self._checked: set[tuple[Size, ...]] = set()

    def prompt_ids(self, prompt: str, sizes: Sequence[Size], history: Sequence[Turn]) -> list[int]:
        """Return the ids of a prompt on images of `sizes`; what else the processor says of them is kept.

        Raises:
            InputError: the prompt has another number of images, or the processor refuses it.
        """
        sizes = tuple(sizes)
        places = sum(text.count(IMAGE_PLACEHOLDER) for text in (*(turn.user for turn in history), prompt))
        if places != len(sizes):
            raise InputError(f"{places} {IMAGE_PLACEHOLDER} in the conversation for {len(sizes)} images")
        shown = [noise(size, number) for number, size in enumerate(sizes)]
        made = self._call(self.chat.prompt_text(prompt, history), shown)
        if len(sizes) > 1 and sizes not in self._checked:
            self._check_join(shown, made)
            self._checked.add(sizes)
        ids: list[int] = made["input_ids"][0].tolist()
        self._tokens[_key(ids, sizes)] = {
            name: TokenTensor(_small(tensor), tensor.dtype)
            for name, tensor in made.items()
            if name not in {*NOT_KEPT, *self.image_names}
        }
        return ids

    def read_image(self, image: Image.Image) -> ImageTensors:
        """Return all tensors that the processor makes of an image, and the image's size."""
        made = self._call(self._text, [image.convert("RGB")])
        return {**{name: made[name] for name in self.image_names}, SIZE: torch.tensor(image.size)}

    def row(
        self, ids: Int[Tensor, " tokens"], prompt: int, images: Sequence[ImageTensors]
    ) -> dict[str, Tensor]:
        """Return the inputs of one row: a prompt with the begin of an answer. Each has a first axis of rows.

        Args:
            ids: of the prompt and the answer, on the model's device.
            prompt: how many of them are the prompt's; `prompt_ids` made them.
            images: what `read_image` returned for its images, on that device.
        """
        sizes = tuple(
            (int(width), int(height)) for width, height in (image[SIZE].tolist() for image in images)
        )
        key = _key(ids[:prompt].tolist(), sizes)
        if key not in self._tokens:
            raise ValueError("these ids are of no prompt that was made here on images of these sizes")
        further = len(ids) - prompt
        inputs = {"input_ids": ids[None], "attention_mask": torch.ones_like(ids)[None]}
        for name, kept in self._tokens[key].items():
            tensor = kept.values.to(kept.dtype)
            column = self._answer.get(name, tensor[:, -1:])
            rest = column.expand(-1, further, *column.shape[2:])
            inputs[name] = torch.cat([tensor, rest], dim=1).to(ids.device)
        return {**inputs, **(self._join(images) if images else {})}

    @property
    def _name(self) -> str:
        return type(self.processor).__name__

    def _call(self, text: str, images: Sequence[Image.Image], **more: Any) -> dict[str, Tensor]:
        """Ask the processor as the library's own chat templates do."""
        bos = self.processor.tokenizer.bos_token
        if bos and text.startswith(bos):
            more["add_special_tokens"] = False
        try:
            made = self.processor(
                text=text, images=[list(images)] if images else None, return_tensors="pt", **more
            )
        except REFUSALS as error:
            raise InputError(
                f"the model's processor refuses a prompt with {len(images)} images: {error}", where=self._name
            ) from None
        odd = [name for name, value in made.items() if not isinstance(value, Tensor)]
        if odd:
            raise InputError(f"the processor returns no tensors for {', '.join(odd)}", where=self._name)
        return dict(made)

    def _answer_columns(self) -> dict[str, Tensor]:
        """Return what the processor says of an answer's tokens, where it can be asked.

        Others say the same of an answer as of the prompt's last token, which is text.
        """
        if "suffix" not in inspect.signature(type(self.processor).__call__).parameters:
            return {}
        made = self._call(self._text, [noise(PROBE_SIZE, 0)], suffix=PROBE)
        return {name: made[name][:, -1:] for name in made if name not in {*NOT_KEPT, *self.image_names}}

    def _join(self, images: Sequence[ImageTensors]) -> dict[str, Tensor]:
        """Return the tensors of a row's images as the processor makes them of all at once."""
        if len(images) == 1:
            return {name: images[0][name] for name in self.image_names}
        return {name: join([image[name] for image in images]) for name, join in self._joins.items()}

    @cached_property
    def _joins(self) -> Mapping[str, Join]:
        """How tensors of several images become a row's: found out by asking for one image and for two.

        Raises:
            InputError: the processor takes one image only, or does with two what cannot be told.
        """
        text = self.chat.prompt_text(f"{IMAGE_PLACEHOLDER}\n{IMAGE_PLACEHOLDER}\n{PROBE}")
        shown = [noise(PROBE_SIZE, number) for number in (0, 1)]
        one, two = self._call(self._text, shown[:1]), self._call(text, shown)
        return {name: self._find_join(name, one[name], two[name]) for name in self.image_names}

    def _find_join(self, name: str, one: Tensor, two: Tensor) -> Join:
        if one.shape == two.shape:
            for join in (_first, _total):
                if torch.equal(join([one, one]), two):
                    return join
        elif one.ndim == two.ndim:
            axes = [axis for axis in range(one.ndim) if one.shape[axis] != two.shape[axis]]
            if len(axes) == 1 and two.shape[axes[0]] == 2 * one.shape[axes[0]]:
                return lambda tensors: _stack(tensors, axes[0])
        raise InputError(
            f"{name} has the shape {tuple(one.shape)} for one image and {tuple(two.shape)} for two",
            where=self._name,
            remedy="Use pairs with one image for this model.",
        )

    def _check_join(self, shown: Sequence[Image.Image], made: Mapping[str, Tensor]) -> None:
        """Check that images read one by one are what the processor makes of them together."""
        joined = self._join([self.read_image(image) for image in shown])
        wrong = [name for name, tensor in joined.items() if not _equal(tensor, made[name])]
        if wrong:
            sizes = ", ".join(f"{image.width}×{image.height}" for image in shown)
            raise InputError(
                f"images of {sizes} pixels change each other's {', '.join(wrong)}",
                where=self._name,
                remedy="Use pairs with one image for this model, or images of one size.",
            )


def _key(ids: Sequence[int], sizes: Sequence[Size]) -> bytes:
    numbers = array("q", [len(sizes), *(side for size in sizes for side in size), *ids])
    return hashlib.blake2b(numbers.tobytes(), digest_size=16).digest()


def _small(tensor: Tensor) -> Tensor:
    """Return numbers of a few kinds in a byte each: there are as many as all prompts have tokens."""
    fits = not tensor.is_floating_point() and int(tensor.min()) >= -128 and int(tensor.max()) <= 127
    return tensor.to(torch.int8) if fits else tensor


def _first(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0]


def _total(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(tensors)).sum(0).to(tensors[0].dtype)


def _stack(tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Join tensors along an axis; where others differ, the smaller are filled with zeros at their ends."""
    largest = [max(sides) for sides in zip(*(tensor.shape for tensor in tensors), strict=True)]
    filled = []
    for tensor in tensors:
        shape = [*largest[:axis], tensor.shape[axis], *largest[axis + 1 :]]
        whole = tensor.new_zeros(shape)
        whole[tuple(slice(side) for side in tensor.shape)] = tensor
        filled.append(whole)
    return torch.cat(filled, dim=axis)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def noise(size: Size, seed: int) -> Image.Image:
    """Return an image of noise: unlike a blank one it shows what becomes of its pixels."""
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def alike(rows: Sequence[Mapping[str, Tensor]]) -> list[list[int]]:
    """Return the numbers of rows with the same tensors of the same shapes."""
    groups: dict[object, list[int]] = {}
    for number, row in enumerate(rows):
        shapes = tuple(sorted((name, tuple(tensor.shape)) for name, tensor in row.items()))
        groups.setdefault(shapes, []).append(number)
    return list(groups.values())


def together(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Join the inputs of rows of like shape."""
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
