"""Token ids and pixels of pairs, made once and kept: what a scorer feeds the model."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import NamedTuple

from medpref.backbones.base import Backbone, ImageTensors, Size
from medpref.backbones.templates import fit
from medpref.errors import InputError
from medpref.files import file_hash
from medpref.pairs.images import image_size, open_image
from medpref.pairs.pair import ImageRole, Pair, Turn
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
    """Token ids by text, and tensors and content hashes by image file; tensors within a limit.

    Args:
        backbone: whose template and image processor are used.
        max_bytes: the most that images may take, in bytes; the image used longest ago goes first.
    """

    def __init__(self, backbone: Backbone, *, max_bytes: int = 1 << 30) -> None:
        self.backbone = backbone
        self.image_token = backbone.image_token
        self.pad = backbone.pad_token
        self._max_bytes = max_bytes
        self._bytes = 0
        self._images: OrderedDict[Stamp, ImageTensors] = OrderedDict()
        self._sizes: dict[Stamp, Size] = {}
        self._hashes: dict[Stamp, str] = {}
        self._prompts: dict[tuple[str, tuple[Size, ...], tuple[Turn, ...]], tuple[int, ...]] = {}
        self._responses: dict[str, tuple[int, ...]] = {}

    def ids(self, pair: Pair, cell: Cell) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the ids of a pair's prompt on a cell's images, and of the cell's response.

        Raises:
            InputError: together they do not fit the backbone's context.
        """
        text = pair.responses[cell.response]
        if text not in self._responses:
            self._responses[text] = tuple(self.backbone.response_ids(text))
        prompt = self.prompt_ids(pair.prompt, pair.images.get(cell.image, ()), pair.history)
        response = self._responses[text]
        fit(len(prompt), len(response), self.backbone.max_length, pair.id)
        return prompt, response

    def prompt_ids(
        self, prompt: str, images: Sequence[FilePath] = (), history: tuple[Turn, ...] = ()
    ) -> tuple[int, ...]:
        """Return the ids of a prompt on image files, image tokens in place.

        Raises:
            InputError: the number of image tokens depends on a file that is missing or is no image.
        """
        sizes = tuple(map(self.size, images)) if self.backbone.sizes_matter else ()
        key = (prompt, sizes, history)
        if key not in self._prompts:
            self._prompts[key] = tuple(self.backbone.prompt_ids(prompt, sizes, history))
        return self._prompts[key]

    def size(self, path: FilePath) -> Size:
        """Return an image file's width and height in pixels.

        Raises:
            InputError: the file is missing or is no image.
        """
        stamp = file_stamp(path)
        if stamp not in self._sizes:
            self._sizes[stamp] = image_size(path)
        return self._sizes[stamp]

    def image(self, path: FilePath) -> ImageTensors:
        """Return one image file as the vision tower takes it.

        Raises:
            InputError: the file is missing or is no image.
        """
        stamp = file_stamp(path)
        if stamp in self._images:
            self._images.move_to_end(stamp)
            return self._images[stamp]
        value = self.backbone.read_image(open_image(path))
        self._images[stamp] = value
        self._bytes += tensor_bytes(value)
        while self._bytes > self._max_bytes and len(self._images) > 1:
            self._bytes -= tensor_bytes(self._images.popitem(last=False)[1])
        return value

    def images(self, paths: Iterable[FilePath]) -> list[ImageTensors]:
        """Return several image files as the vision tower takes them. Raises as `image` does."""
        return [self.image(path) for path in paths]

    def image_hash(self, path: FilePath) -> str:
        """Return the SHA-256 of an image file's bytes, computed once for each path, size and time.

        Raises:
            InputError: the file is missing.
        """
        stamp = file_stamp(path)
        if stamp not in self._hashes:
            self._hashes[stamp] = file_hash(path)
        return self._hashes[stamp]


def tensor_bytes(image: ImageTensors) -> int:
    """Return how many bytes an image's tensors take."""
    return sum(tensor.nbytes for tensor in image.values())
