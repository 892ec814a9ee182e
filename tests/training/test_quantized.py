"""Weights in 4 bits: refused clearly without bitsandbytes; with it, trained by adapters and saved whole."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from medpref.backbones import load_backbone
from medpref.backbones.quantized import is_quantized
from medpref.errors import InputError
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer
from medpref.starts.pretrained import PretrainedSettings
from medpref.training.settings import TrainingSettings

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
CELLS = [Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED]


def logps(backbone, pairs: list[Pair]) -> Tensor:
    with torch.no_grad():
        scores = Scorer(backbone).score(pairs, CELLS)
    return torch.stack([scores[cell].logps for cell in CELLS])


@pytest.fixture
def saved(make_backbone, tmp_path: Path) -> Path:
    # bitsandbytes rounds in blocks of 64 weights.
    make_backbone("qwen2", width=64).save(tmp_path / "model")
    return tmp_path / "model"


def test_without_bitsandbytes_it_is_refused(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medpref.backbones.quantized.find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs bitsandbytes") as caught:
        load_backbone(saved, quantize="4bit")
    assert "pip install bitsandbytes" in str(caught.value)


def test_only_adapters_can_be_trained_over_4_bits() -> None:
    for wrong in ({}, {"lora": {}}, {"reference": "cached", "lora": {}}):
        with pytest.raises(ValidationError, match=r"quantize needs lora and reference"):
            TrainingSettings.model_validate({"quantize": "4bit", **wrong})


def test_a_study_s_start_is_whole(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="set quantize under training instead"):
        PretrainedSettings(path=tmp_path, quantize="4bit")


@needs_bitsandbytes
def test_only_the_language_model_is_rounded(saved: Path, pairs: list[Pair]) -> None:
    plain, rounded = load_backbone(saved), load_backbone(saved, quantize="4bit")
    assert is_quantized(rounded.model)
    assert not is_quantized(plain.model)
    kinds = {name: type(module).__name__ for name, module in rounded.model.named_modules()}
    assert kinds["model.language_model.layers.0.mlp.up_proj"] == "Linear4bit"
    assert {kind for name, kind in kinds.items() if "vision_tower" in name} & {"Linear4bit"} == set()
    assert kinds["lm_head"] == kinds["model.multi_modal_projector.linear_1"] == "Linear"
    difference = (logps(plain, pairs) - logps(rounded, pairs)).abs().max()
    assert 0.01 < difference < 50


@needs_bitsandbytes
@pytest.mark.parametrize("name", ["dpo", "mdpo"])
def test_training_over_4_bits_saves_what_it_computed(
    saved: Path, pairs: list[Pair], make_trainer, tmp_path: Path, name: str
) -> None:
    backbone = load_backbone(saved, quantize="4bit")
    start = logps(backbone, pairs)
    trainer = make_trainer(
        backbone,
        name,
        quantize="4bit",
        lora={"r": 4},
        reference_from="adapters-off",
        learning_rate=1e-2,
    )
    trainer.train()
    tuned = logps(backbone, pairs)
    assert (tuned - start).abs().max() > 0.05
    trainer.save(tmp_path / "trained")
    loaded = load_backbone(tmp_path / "trained")
    assert not is_quantized(loaded.model)
    assert {weight.dtype for weight in loaded.model.parameters()} == {torch.float32}
    torch.testing.assert_close(logps(loaded, pairs), tuned, atol=1e-3, rtol=0)
    with_adapter = load_backbone(saved, quantize="4bit", adapter=tmp_path / "trained" / "adapter")
    torch.testing.assert_close(logps(with_adapter, pairs), tuned, atol=1e-3, rtol=0)
