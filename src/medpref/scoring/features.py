"""What a frozen vision tower said about images, kept instead of computed again."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import nn

from medpref.backbones.base import Backbone, ImageTensors, move_images
from medpref.errors import RunError
from medpref.scoring.feature_files import FeatureFiles
from medpref.scoring.inputs import InputCache, tensor_bytes


class FeatureCache:
    """Keeps `Backbone.encode_images` of distinct images in memory, and on disk where a folder is given.

    It is kept before the projector, which may train. An entry belongs to the content of an image file, the
    tower with its preprocessing, and the precision. A tower gives an image the same features whatever
    stands beside it in a batch but for rounding (about 1e-6 in fp32), and what is kept was rounded in the
    batch that it was computed in.

    Args:
        max_bytes: the most that features may take in memory, in bytes; those used longest ago go first.
        folder: where features are also kept in files, for later runs and for other processes.
        max_disk_bytes: the most that these files may take; the oldest go first.
    """

    def __init__(
        self, max_bytes: int = 4 << 30, folder: Path | None = None, *, max_disk_bytes: int = 64 << 30
    ) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        """How much the features in memory take."""
        self.computed = 0
        """How many images the tower was run on."""
        self.from_memory = 0
        self.from_disk = 0
        self.files = FeatureFiles(folder, max_disk_bytes) if folder else None
        self._kept: OrderedDict[str, ImageTensors] = OrderedDict()
        self._towers: WeakKeyDictionary[nn.Module, tuple[object, str]] = WeakKeyDictionary()

    @property
    def damaged(self) -> Mapping[Path, str]:
        """Files that could not be trusted, with the reason; what they held was computed again."""
        return self.files.damaged if self.files else {}

    def usable(self, backbone: Backbone) -> bool:
        """Tell whether the tower runs apart and is frozen: what one in training says is soon out of date."""
        return backbone.keeps_features and not backbone.tower_trains

    @torch.no_grad()
    def encode(
        self,
        paths: Sequence[Path],
        backbone: Backbone,
        inputs: InputCache,
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> list[ImageTensors]:
        """Return what the tower says about each image file, in CPU memory.

        The tower is run once, in evaluation mode, on the distinct images that are not known yet.

        Args:
            paths: image files; equal ones are encoded once.
            backbone: whose tower is used.
            inputs: reads and hashes the files.
            precision: fp32, or bf16 autocast.

        Raises:
            RunError: the tower is in training, or the cache's folder cannot be written.
            InputError: a file is missing or is no image.
        """
        if not self.usable(backbone):
            raise RunError(
                "the vision tower is in training, so what it says about images cannot be kept",
                remedy="Freeze the tower, or train without a feature cache.",
            )
        if not paths:
            return []
        place = f"{self._tower(backbone)}/{precision}"
        keys = [f"{place}/{inputs.image_hash(path)}" for path in paths]
        wanted = dict(zip(keys, paths, strict=True))
        found = {key: value for key in wanted if (value := self._look_up(key)) is not None}
        missing = [key for key in wanted if key not in found]
        if missing:
            read = inputs.images([wanted[key] for key in missing])
            new = move_images(run_tower(backbone, read, precision), torch.device("cpu"))
            self.computed += len(missing)
            for key, features in zip(missing, new, strict=True):
                found[key] = features
                self._keep(key, features)
                if self.files:
                    self.files.write(key, features)
        return [found[key] for key in keys]

    def _look_up(self, key: str) -> ImageTensors | None:
        if key in self._kept:
            self._kept.move_to_end(key)
            self.from_memory += 1
            return self._kept[key]
        features = self.files.read(key) if self.files else None
        if features is not None:
            self.from_disk += 1
            self._keep(key, features)
        return features

    def _keep(self, key: str, features: ImageTensors) -> None:
        """Keep a copy in memory: a view would keep the whole batch, or the file, alive."""
        size = tensor_bytes(features)
        if size > self.max_bytes:
            return
        self._kept[key] = {name: tensor.clone() for name, tensor in features.items()}
        self.bytes += size
        while self.bytes > self.max_bytes:
            self.bytes -= tensor_bytes(self._kept.popitem(last=False)[1])

    def _tower(self, backbone: Backbone) -> str:
        """Return the tower's fingerprint; computed again where a frozen weight was written to or moved."""
        model = backbone.model
        now = _versions(model)
        known = self._towers.get(model)
        if known is None or known[0] != now:
            known = self._towers[model] = (now, backbone.fingerprint("tower"))
        return known[1]


def _versions(model: nn.Module) -> object:
    """Return what changes whenever a frozen weight is written to: hashing all of them takes far longer.

    Each tensor counts what is written to it in place, but not what is written through ``.data``.
    """
    frozen = (weight for weight in model.parameters() if not weight.requires_grad)
    return tuple((tensor.data_ptr(), tensor._version) for tensor in chain(frozen, model.buffers()))


def run_tower(backbone: Backbone, images: Sequence[ImageTensors], precision: str) -> list[ImageTensors]:
    """Return `backbone.encode_images` of images on any device, in evaluation mode; on the backbone's device.

    Args:
        backbone: whose tower is used.
        images: what `Backbone.read_image` returned.
        precision: fp32, or bf16 autocast.
    """
    device = backbone.device
    with evaluating(backbone.model), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        return backbone.encode_images(move_images(images, device))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and each of its modules back into its own mode afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
