"""Original checkpoints loaded as they are, and towers from elsewhere."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.backbones.sharing import check_sharing
from tests.conversion.checkpoints import KINDS, TOWER, original_checkpoint, random_tensors

from medpref.backbones import load_backbone
from medpref.conversion import convert_checkpoint
from medpref.errors import InputError
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_an_original_checkpoint_loads_and_says_so(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, _ = original_checkpoint(tmp_path / "med", kind)
    backbone = load_backbone(tmp_path / "med")
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("med:")]
    assert len(told) == 1
    assert "read from the original layout" in told[0]
    extra = {"llava_mistral": 1, "llava_qwen2": 0}[kind]
    assert backbone.model.lm_head.weight.shape[0] == config["vocab_size"] + extra
    assert f"<image> is token {backbone.image_token}" in told[0]
    assert backbone.template_name == {"llava_mistral": "mistral-instruct", "llava_qwen2": "huatuo"}[kind]
    assert backbone.max_length == 128
    assert backbone.model.config._attn_implementation == "sdpa"
    assert backbone.lean


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_training_does_not_write_into_the_checkpoint(suffix: str, tmp_path: Path) -> None:
    original_checkpoint(tmp_path / "med", "llava_mistral", suffix=suffix)
    before = digests(tmp_path / "med")
    backbone = load_backbone(tmp_path / "med")
    with torch.no_grad():
        for weight in backbone.model.parameters():
            weight.add_(1.0)
    assert digests(tmp_path / "med") == before


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_an_original_checkpoint_share_prefixes(kind: str, pairs: list[Pair], tmp_path: Path) -> None:
    original_checkpoint(tmp_path / "med", kind, tokenizer_model_max_length=256)
    check_sharing(load_backbone(tmp_path / "med"), pairs[:2], list(Cell))


def test_the_added_row_takes_no_probability(pairs: list[Pair], tmp_path: Path) -> None:
    original_checkpoint(tmp_path / "med", "llava_mistral", tokenizer_model_max_length=256)
    backbone = load_backbone(tmp_path / "med")
    before = Scorer(backbone).score(pairs[:2], [Cell.CLEAN_CHOSEN])[Cell.CLEAN_CHOSEN].logps
    with torch.no_grad():
        backbone.model.lm_head.weight[-1] += 3
    after = Scorer(backbone).score(pairs[:2], [Cell.CLEAN_CHOSEN])[Cell.CLEAN_CHOSEN].logps
    assert torch.equal(before, after)


def test_shapes_alone_are_enough_for_planning(tmp_path: Path) -> None:
    original_checkpoint(tmp_path / "med", "llava_qwen2")
    backbone = load_backbone(tmp_path / "med", weights=False)
    assert backbone.device.type == "meta"
    assert backbone.prompt_ids("<image>\nWhere?").count(backbone.image_token) == backbone.image_tokens


def test_settings_go_before_the_family(tmp_path: Path) -> None:
    original_checkpoint(tmp_path / "med", "llava_qwen2")
    backbone = load_backbone(tmp_path / "med", template="mistral-instruct", max_length=77, dtype="bfloat16")
    assert (backbone.template_name, backbone.max_length) == ("mistral-instruct", 77)
    assert backbone.model.dtype == torch.bfloat16


def test_an_original_checkpoint_is_not_quantised(tmp_path: Path) -> None:
    original_checkpoint(tmp_path / "med", "llava_qwen2")
    with pytest.raises(InputError, match="cannot be quantised while it is read"):
        load_backbone(tmp_path / "med", quantize="4bit")


# Towers from elsewhere


def clip(folder: Path, form: str, change: float, dtype: torch.dtype = torch.float32, seed: int = 0) -> Path:
    """Write the tower of `original_checkpoint` as a CLIP folder, `change` away from it."""
    config, _ = original_checkpoint(folder / "made", "llava_mistral")
    own = {k: v for k, v in random_tensors(config, seed).items() if k.startswith(TOWER)}
    prefix = "" if form == "bare" else "vision_model."
    tensors = {prefix + k.removeprefix(TOWER): (v + change).to(dtype) for k, v in own.items()}
    vision = {"model_type": "clip_vision_model", "num_attention_heads": 2, "hidden_act": "quick_gelu"}
    said: dict[str, object] = vision
    if form == "whole":
        tensors |= {"text_model.final_layer_norm.weight": torch.ones(4), "logit_scale": torch.ones(())}
        tensors |= {"visual_projection.weight": torch.ones(4, 4), "text_projection.weight": torch.ones(4, 4)}
        said = {"model_type": "clip", "vision_config": vision}
    (folder / "clip").mkdir()
    save_file(tensors, folder / "clip" / "model.safetensors", metadata={"format": "pt"})
    (folder / "clip" / "config.json").write_text(json.dumps(said))
    return folder / "clip"


@pytest.mark.parametrize("form", ["bare", "prefixed", "whole"])
def test_another_tower_takes_the_place_of_the_embedded_one(form: str, tmp_path: Path) -> None:
    original_checkpoint(tmp_path / "med", "llava_mistral")
    tower = clip(tmp_path, form, 0.25)
    own, other = load_backbone(tmp_path / "med"), load_backbone(tmp_path / "med", vision_tower=tower)
    for name, weight in own.model.state_dict().items():
        change = 0.25 if "vision_tower" in name else 0.0
        assert torch.equal(other.model.state_dict()[name], weight + change), name
    conversion = convert_checkpoint(tmp_path / "med", tmp_path / "plain", settings_of(tower))
    assert any("the tower is that of clip" in note for note in conversion.notes)
    assert any("by up to 0.25" in note for note in conversion.notes)
    assert any("4 tensors of CLIP's text side" in note for note in conversion.notes) == (form == "whole")
    assert load_backbone(tmp_path / "plain").fingerprint() == other.fingerprint()
    told = json.loads((tmp_path / "plain" / "conversion.json").read_text())
    assert "clip/model.safetensors" in told["source_sha256"]


def settings_of(tower: Path) -> object:
    from medpref.backbones.loading import LoadSettings

    return LoadSettings(vision_tower=tower)


def test_equal_towers_are_told(tmp_path: Path) -> None:
    original_checkpoint(tmp_path / "med", "llava_mistral")
    notes = convert_checkpoint(
        tmp_path / "med", tmp_path / "plain", settings_of(clip(tmp_path, "prefixed", 0.0)), dry_run=True
    ).notes
    assert "it equals the checkpoint's own" in notes


def test_towers_that_differ_by_rounding_are_told(tmp_path: Path) -> None:
    original_checkpoint(tmp_path / "med", "llava_mistral", dtype=torch.bfloat16)
    notes = convert_checkpoint(
        tmp_path / "med", tmp_path / "plain", settings_of(clip(tmp_path, "prefixed", 0.0)), dry_run=True
    ).notes
    assert any("it differs from the checkpoint's own" in n and "they are equal" in n for n in notes)


def test_a_checkpoint_without_a_tower_wants_one(tmp_path: Path) -> None:
    _, tensors = original_checkpoint(tmp_path / "med", "llava_mistral", shards=1)
    rest = {k: v for k, v in tensors.items() if not k.startswith(TOWER)}
    save_file(rest, tmp_path / "med" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="the checkpoint holds no CLIP tower") as caught:
        load_backbone(tmp_path / "med")
    assert "--vision-tower" in str(caught.value.remedy)
    backbone = load_backbone(tmp_path / "med", vision_tower=clip(tmp_path, "whole", 0.0))
    assert backbone.image_tokens == 16


def test_the_mean_colour_is_the_processors(tmp_path: Path) -> None:
    original_checkpoint(tmp_path / "med", "llava_mistral")
    own = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.5], "crop_size": 32, "size": 32}
    path = tmp_path / "med" / "preprocessor_config.json"
    path.write_text(json.dumps({"image_processor_type": "CLIPImageProcessor", **own}))
    processor = load_backbone(tmp_path / "med").processor
    assert list(processor.image_mean) == [0.1, 0.2, 0.3]
    assert list(processor.image_std) == [0.5, 0.5, 0.5]
    assert processor.do_pad
    path.write_text(path.read_text().replace("32", "64"))
    with pytest.raises(InputError, match="images of 64 pixels for a tower that takes 32"):
        load_backbone(tmp_path / "med")
