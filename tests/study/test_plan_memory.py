"""The estimate of a step's memory against the tensors that a real step holds."""

import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from medpref.backbones.tiny import TinyLlavaSettings, build_tiny_llava
from medpref.pairs.pair import IMAGE_PLACEHOLDER, ImageRole, Pair, ResponseRole
from medpref.scoring.cells import Cell
from medpref.scoring.inputs import number_images
from medpref.scoring.scorer import Scorer
from medpref.study.dry.measure import measure
from medpref.study.dry.memory import training_memory
from medpref.study.dry.outline import what_trains
from medpref.study.dry.passes import lay_out
from medpref.study.dry.sizes import Mode
from medpref.training.settings import TrainingSettings
from medpref.training.weights import prepare_model

CELLS = list(Cell)[:3]


class Held(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive, those in `known` left out."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._note(tensor.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen or storage.data_ptr() in self._known:
            return
        self._seen.add(storage)
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.live -= size


@pytest.fixture
def many(tmp_path: Path) -> list[Pair]:
    """Eight pairs on four images, with responses long enough that tokens outweigh the rest."""

    def image(name: str, seed: int) -> tuple[Path]:
        pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
        return (tmp_path / name,)

    made = []
    for number in range(4):
        images = {
            ImageRole.CLEAN: image(f"{number}.png", number),
            ImageRole.REJECTED: image(f"rejected-{number}.png", 10 + number),
        }
        for question in range(2):
            responses = {
                ResponseRole.CHOSEN: "Yes, it is in the left lung. " * 3 + str(question),
                ResponseRole.REJECTED: "No, there is nothing at all. " * (2 + question),
            }
            prompt = f"{IMAGE_PLACEHOLDER}\nWhere is it, {question}?"
            made.append(Pair(f"{number}-{question}", prompt, images, responses))
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    "said",
    [
        {},
        {"freeze": ("tower",)},
        {"freeze": ("tower", "language_model")},
        {"freeze": ("tower",), "gradient_checkpointing": True},
        {"freeze": ("tower",), "precision": "bf16"},
        {"lora": {"r": 8}},
    ],
    ids=str,
)
def test_the_estimate_is_near_what_a_step_holds(many: list[Pair], said: dict[str, Any]) -> None:
    texts = [text for pair in many for text in (pair.prompt, *pair.responses.values())]
    size = {"width": 256, "text_layers": 6, "vision_layers": 4, "heads": 8, "key_value_heads": 4}
    sizes = TinyLlavaSettings(**size, vocabulary=500, max_length=512)
    backbone = build_tiny_llava("mistral", texts, sizes, seed=0)
    settings = TrainingSettings.model_validate(said)
    trained, trained_bytes = what_trains(backbone, settings)
    model = measure(backbone)
    prepare_model(backbone, settings, seed=0)
    backbone.model.train()
    scorer = Scorer(backbone, precision=settings.precision)
    # Pixels are read beforehand.
    _, load = lay_out(scorer, [(pair, cell) for cell in CELLS for pair in many])
    scorer.inputs.images(number_images((pair, cell) for cell in CELLS for pair in many))
    mode = Mode(settings.precision, settings.gradient_checkpointing)
    estimate = training_memory(model, load, trained, trained_bytes, mode)

    with Held(backbone.model.parameters()) as held:
        sum(score.tokens.sum() for score in scorer.score(many, CELLS).values()).backward()
    real = held.peak + estimate.weights + estimate.optimizer
    assert 0.8 < estimate.total / real < 1.25
