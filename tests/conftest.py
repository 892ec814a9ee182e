"""Shared fixtures: a tiny random LLaVA of both text families, and a handful of pairs with image files."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook
from PIL import Image

from medpref.pairs.pair import ImageRole, Pair, ResponseRole

if TYPE_CHECKING:
    from tests.generation.servers import Server

    from medpref.backbones.llava import LlavaBackbone

# Before anything imports transformers, which the fixtures below leave to the tests that need it.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# The same examples in every run, and no limit on the time of one: machines are shared.
settings.register_profile("steady", deadline=None, derandomize=True, database=None)
settings.load_profile("steady")
# The shapes in the annotations are checked while the tests run.
install_import_hook(["medpref.objectives", "medpref.scoring"], "beartype.beartype")

FAMILIES = ("mistral", "qwen2")
TEXTS = (
    "Is there a lesion in the left lung?",
    "Where is the lesion?",
    "Yes, in the upper lobe.",
    "No, the lung is clear.",
    "Describe the image.",
)
BackboneMaker = Callable[..., "LlavaBackbone"]
ImageMaker = Callable[..., Path]
PairMaker = Callable[..., Pair]


@pytest.fixture(scope="session", autouse=True)
def _imports_are_not_garbage() -> None:
    """Leave what is imported out of garbage collections: the trainer asks for one after each training."""
    gc.freeze()


@pytest.fixture(scope="session")
def make_backbone() -> BackboneMaker:
    """Return a function that makes a tiny backbone; its weights are large enough that every token matters."""
    import torch

    from medpref.backbones.tiny import TinyLlavaSettings, build_tiny_llava

    torch.set_num_threads(1)

    def make(family: str, seed: int = 0, **changes: int) -> "LlavaBackbone":
        sizes = {
            "image_size": 32,
            "patch_size": 8,
            "width": 32,
            "vision_layers": 2,
            "heads": 2,
            "key_value_heads": 1,
            "vocabulary": 320,
            "max_length": 128,
        }
        backbone = build_tiny_llava(family, TEXTS, TinyLlavaSettings(**{**sizes, **changes}), seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in backbone.model.parameters():
                if parameter.ndim == 2:
                    # The library's 0.02 leaves attention flat, so that a wrong mask would hardly show.
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
        return backbone

    return make


@pytest.fixture(params=FAMILIES)
def backbone(request: pytest.FixtureRequest, make_backbone: BackboneMaker) -> "LlavaBackbone":
    """A tiny backbone of each family, fresh for each test."""
    return make_backbone(request.param)


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is asked of an endpoint again not wait long."""
    from medpref.endpoints import endpoint

    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)


@pytest.fixture
def server() -> Iterator["Server"]:
    """Return a server on loopback that answers until the test ends."""
    from tests.generation.servers import serving

    with serving() as running:
        yield running


@pytest.fixture
def make_image(tmp_path: Path) -> ImageMaker:
    """Return a function that writes a small random image and returns its path."""

    def make(name: str, seed: int = 0, size: tuple[int, int] = (32, 32)) -> Path:
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        path = tmp_path / "images" / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    return make


@pytest.fixture
def make_pair() -> PairMaker:
    """Return a function that makes a pair; without images the prompt has no placeholder."""

    def make(
        ident: str,
        clean: tuple[Path, ...] = (),
        rejected: tuple[Path, ...] = (),
        question: str = "Is there a lesion?",
        chosen: str = "Yes, in the upper lobe.",
        refused: str | None = "No, the lung is clear.",
        **rest: object,
    ) -> Pair:
        responses = {ResponseRole.CHOSEN: chosen}
        if refused is not None:
            responses[ResponseRole.REJECTED] = refused
        images = {ImageRole.CLEAN: clean, ImageRole.REJECTED: rejected}
        return Pair(
            id=ident,
            prompt="<image>\n" * len(clean) + question,
            images={role: paths for role, paths in images.items() if paths},
            responses=responses,
            **rest,
        )

    return make


@pytest.fixture
def pairs(make_image: ImageMaker, make_pair: PairMaker) -> list[Pair]:
    """Six whole pairs on three images: every objective can train on them."""
    made = []
    for number in range(3):
        clean = (make_image(f"clean-{number}.png", number),)
        rejected = (make_image(f"rejected-{number}.png", 10 + number),)
        made += [
            make_pair(f"p{number}-where", clean, rejected, "Where is the lesion?", weight=0.8 + 0.2 * number),
            make_pair(
                f"p{number}-is", clean, rejected, chosen=("Yes", "No", "No, clear")[number], weight=1.1
            ),
        ]
    return made
