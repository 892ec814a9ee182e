"""The way back to the authors' layout."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.conftest import BackboneMaker
from tests.conversion.checkpoints import KINDS, original_checkpoint
from tokenizers import Tokenizer

from medpref.backbones import load_backbone
from medpref.conversion import convert_checkpoint, restore_original
from medpref.errors import InputError

SMALL = 60_000


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {k: v for path in sorted(folder.glob("*.safetensors")) for k, v in load_file(path).items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert second[name].dtype == tensor.dtype
        assert torch.equal(second[name], tensor), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_round_gives_the_same_tensors_and_configuration(
    kind: str, saved: bool, dtype: torch.dtype, tmp_path: Path
) -> None:
    config, tensors = original_checkpoint(tmp_path / "original", kind, dtype=dtype)
    convert_checkpoint(tmp_path / "original", tmp_path / "plain", shard_bytes=SMALL)
    if saved:
        load_backbone(tmp_path / "plain").save(tmp_path / "saved")
    restore_original(tmp_path / ("saved" if saved else "plain"), tmp_path / "back", shard_bytes=SMALL)
    same(tensors, weights(tmp_path / "back"))
    assert json.loads((tmp_path / "back" / "config.json").read_text()) == config


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokenizer_loses_what_was_added(kind: str, tmp_path: Path) -> None:
    original_checkpoint(tmp_path / "original", kind)
    convert_checkpoint(tmp_path / "original", tmp_path / "plain")
    restore_original(tmp_path / "plain", tmp_path / "back")
    before = Tokenizer.from_file(str(tmp_path / "original" / "tokenizer.json"))
    after = Tokenizer.from_file(str(tmp_path / "back" / "tokenizer.json"))
    text = "Where is the lesion? µ  Yes."
    assert after.encode(text).ids == before.encode(text).ids
    rows = weights(tmp_path / "back")["lm_head.weight"].shape[0]
    assert after.get_vocab_size() <= rows
    assert not (tmp_path / "back" / "chat_template.jinja").exists()


def test_small_files_come_from_the_original_where_it_is_named(tmp_path: Path) -> None:
    original_checkpoint(tmp_path / "original", "llava_mistral")
    convert_checkpoint(tmp_path / "original", tmp_path / "plain")
    restore_original(tmp_path / "plain", tmp_path / "back", tmp_path / "original")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        copied = (tmp_path / "back" / name).read_bytes()
        assert copied == (tmp_path / "original" / name).read_bytes()


def test_the_row_of_the_image_is_named(tmp_path: Path) -> None:
    original_checkpoint(tmp_path / "original", "llava_mistral")
    convert_checkpoint(tmp_path / "original", tmp_path / "plain")
    lines: list[str] = []
    restore_original(tmp_path / "plain", tmp_path / "back", say=lines.append)
    assert any("that of <image> (1); it was zero" in line for line in lines)
    backbone = load_backbone(tmp_path / "plain")
    with torch.no_grad():
        backbone.model.lm_head.weight[-1] += 1
    backbone.save(tmp_path / "other")
    conversion = restore_original(tmp_path / "other", tmp_path / "back", dry_run=True)
    assert any("in head.weight it was not zero" in note for note in conversion.notes)


@pytest.mark.parametrize("family", ["mistral", "qwen2"])
def test_a_model_that_never_was_original_gets_a_configuration(
    make_backbone: BackboneMaker, family: str, tmp_path: Path
) -> None:
    backbone = make_backbone(family)
    backbone.save(tmp_path / "plain")
    restore_original(tmp_path / "plain", tmp_path / "back")
    again = load_backbone(tmp_path / "back")
    ids = torch.tensor([backbone.prompt_ids("<image>\nWhere?")])
    pixels = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
    with torch.no_grad():
        logits = [m.model(input_ids=ids, pixel_values=pixels).logits for m in (backbone, again)]
    assert torch.equal(*logits)


def test_a_model_without_an_original_layout_is_refused(tmp_path: Path) -> None:
    original_checkpoint(tmp_path / "original", "llava_mistral")
    with pytest.raises(InputError, match="model_type 'llava_mistral' has no original LLaVA layout"):
        restore_original(tmp_path / "original", tmp_path / "back")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rope_theta": 5.0}, "reads rope_theta otherwise"),
        ({"vocab_size": 999}, "the embedding lacks"),
        ({"mm_projector_type": "linear"}, "mm_projector_type is 'linear'"),
    ],
)
def test_a_kept_configuration_of_another_model_is_refused(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    original_checkpoint(tmp_path / "original", "llava_mistral")
    convert_checkpoint(tmp_path / "original", tmp_path / "plain")
    path = tmp_path / "plain" / "config.json"
    config = json.loads(path.read_text())
    config["original_config"] |= changes
    path.write_text(json.dumps(config))
    with pytest.raises(InputError, match=message):
        restore_original(tmp_path / "plain", tmp_path / "back")
