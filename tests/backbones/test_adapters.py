"""Adapters from a folder: attached beside the weights, merged into them, refused where they do not fit."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import LlavaForConditionalGeneration
from typer.testing import CliRunner

from medpref.backbones import load_backbone
from medpref.backbones.adapters import attach_adapter, save_adapter, tuned_layers
from medpref.cli import app
from medpref.errors import InputError
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer
from medpref.training.lora import add_lora
from medpref.training.settings import LoraSettings


def logps(backbone, pairs: list[Pair]) -> Tensor:
    with torch.no_grad():
        return Scorer(backbone).score(pairs, [Cell.CLEAN_CHOSEN])[Cell.CLEAN_CHOSEN].logps


@pytest.fixture
def folders(backbone, pairs: list[Pair], tmp_path: Path) -> tuple[Path, Path, Tensor, Tensor]:
    """A saved model, adapters for it with weights that matter, and what is said without and with them."""
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    backbone.save(base)
    without = logps(backbone, pairs)
    add_lora(backbone, LoraSettings(r=4, targets=("language_model", "projector")))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in backbone.model.named_parameters():
            if "lora_B" in name:
                weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))
    save_adapter(backbone, adapter)
    return base, adapter, without, logps(backbone, pairs)


def test_a_folder_s_adapters_are_merged_at_loading(folders, pairs: list[Pair]) -> None:
    base, adapter, without, tuned = folders
    assert (without - tuned).abs().max() > 0.1
    loaded = load_backbone(base, adapter=adapter)
    assert not list(tuned_layers(loaded.model))
    torch.testing.assert_close(logps(loaded, pairs), tuned, atol=1e-4, rtol=0)


def test_attached_adapters_compute_and_are_not_trained(folders, pairs: list[Pair]) -> None:
    base, adapter, _, tuned = folders
    loaded = load_backbone(base)
    loaded.freeze(["tower"])
    attach_adapter(loaded, adapter)
    torch.testing.assert_close(logps(loaded, pairs), tuned, atol=1e-5, rtol=0)
    trained = [name for name, weight in loaded.model.named_parameters() if weight.requires_grad]
    assert trained
    assert not any("lora" in name or "vision_tower" in name for name in trained)


def test_merge_writes_a_plain_folder(folders, pairs: list[Pair], tmp_path: Path) -> None:
    base, adapter, _, tuned = folders
    command = ["merge", str(base), str(adapter), str(tmp_path / "merged")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    torch.testing.assert_close(logps(load_backbone(tmp_path / "merged"), pairs), tuned, atol=1e-4, rtol=0)
    with pytest.raises(InputError, match="this folder is there already"):
        CliRunner().invoke(app, command, catch_exceptions=False, standalone_mode=False)


def test_peft_and_we_agree(folders, pairs: list[Pair]) -> None:
    base, adapter, _, tuned = folders
    loaded = load_backbone(base)
    plain = LlavaForConditionalGeneration.from_pretrained(base, attn_implementation="sdpa")
    loaded.model = PeftModel.from_pretrained(plain, adapter).merge_and_unload()
    loaded.lean = False
    torch.testing.assert_close(logps(loaded, pairs), tuned, atol=1e-4, rtol=0)


def test_adapters_of_another_model_are_refused(folders, make_backbone, tmp_path: Path) -> None:
    _, adapter, _, _ = folders
    make_backbone("mistral", width=16).save(tmp_path / "narrow")
    with pytest.raises(InputError, match="wrong shape"):
        load_backbone(tmp_path / "narrow", adapter=adapter)


def test_other_kinds_of_adapters_are_refused(folders, tmp_path: Path) -> None:
    base, adapter, _, _ = folders
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "peft_type": "IA3"}))
    with pytest.raises(InputError, match="only LoRA can be loaded"):
        load_backbone(base, adapter=adapter)
    with pytest.raises(InputError, match="configuration cannot be read"):
        load_backbone(base, adapter=tmp_path / "nothing")
