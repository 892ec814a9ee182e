"""Token ids and pixels of pairs, made once and kept: what a scorer feeds the model."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from medpref.backbones.base import Backbone
from medpref.backbones.templates import fit
from medpref.errors import InputError
from medpref.files import file_hash
from medpref.pairs.images import open_image
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.scoring.cells import Cell


def number_images(asked: Iterable[tuple[Pair, Cell]]) -> dict[FilePath, int]:
    """Return the distinct image files that pairs show in cells, each with its number from 0."""
    wanted = (path for pair, cell in asked for path in pair.images.get(cell.image, ()))
    return {path: number for number, path in enumerate(dict.fromkeys(wanted))}


def image_indices(numbers: Mapping[FilePath, int], pair: Pair, role: ImageRole) -> tuple[int, ...]:
    """Return the numbers of a pair's images of `role`."""
    return tuple(numbers[path] for path in pair.images.get(role, ()))


class Stamp(NamedTuple):
    """What tells whether a file is still the one that was read: its path, size in bytes and time."""

    path: FilePath
    size: int
    modified: int


def file_stamp(path: FilePath) -> Stamp:
    """Return a file's stamp.

    Raises:
        InputError: there is no such file.
    """
    try:
        found = path.stat()
    except OSError:
        raise InputError("the image is missing", where=str(path)) from None
    return Stamp(path, found.st_size, found.st_mtime_ns)


class InputCache:
    """Token ids by text, and pixels and content hashes by image file; pixels within a limit.

    Args:
        backbone: whose template and image processor are used.
        max_bytes: the most that pixels may take, in bytes; the image used longest ago goes first.
    """

    def __init__(self, backbone: Backbone, *, max_bytes: int = 1 << 30) -> None:
        self.backbone = backbone
        self.image_token = backbone.image_token
        self.pad = backbone.pad_token
        self._max_bytes = max_bytes
        self._bytes = 0
        self._pixels: OrderedDict[Stamp, Float[Tensor, "channels height width"]] = OrderedDict()
        self._hashes: dict[Stamp, str] = {}
        self._prompts: dict[str, tuple[int, ...]] = {}
        self._responses: dict[str, tuple[int, ...]] = {}

    def ids(self, pair: Pair, role: ResponseRole) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the ids of a pair's prompt and of one of its responses.

        Raises:
            InputError: together they do not fit the backbone's context.
        """
        text = pair.responses[role]
        if text not in self._responses:
            self._responses[text] = tuple(self.backbone.response_ids(text))
        prompt, response = self.prompt_ids(pair.prompt), self._responses[text]
        fit(len(prompt), len(response), self.backbone.max_length, pair.id)
        return prompt, response

    def prompt_ids(self, prompt: str) -> tuple[int, ...]:
        """Return the ids of a prompt, image tokens in place."""
        if prompt not in self._prompts:
            self._prompts[prompt] = tuple(self.backbone.prompt_ids(prompt))
        return self._prompts[prompt]

    def pixels(self, path: FilePath) -> Float[Tensor, "channels height width"]:
        """Return one image file as the vision tower takes it.

        Raises:
            InputError: the file is missing or is no image.
        """
        stamp = file_stamp(path)
        if stamp in self._pixels:
            self._pixels.move_to_end(stamp)
            return self._pixels[stamp]
        value = self.backbone.pixel_values(open_image(path))
        self._pixels[stamp] = value
        self._bytes += value.nbytes
        while self._bytes > self._max_bytes and len(self._pixels) > 1:
            self._bytes -= self._pixels.popitem(last=False)[1].nbytes
        return value

    def image_hash(self, path: FilePath) -> str:
        """Return the SHA-256 of an image file's bytes, computed once for each path, size and time.

        Raises:
            InputError: the file is missing.
        """
        stamp = file_stamp(path)
        if stamp not in self._hashes:
            self._hashes[stamp] = file_hash(path)
        return self._hashes[stamp]

    def stack(self, paths: Sequence[FilePath]) -> Float[Tensor, "images channels height width"]:
        """Return several image files as the vision tower takes them. Raises as `pixels` does."""
        stack = [self.pixels(path) for path in paths]
        return torch.stack(stack) if stack else torch.empty(0, 3, 1, 1)
