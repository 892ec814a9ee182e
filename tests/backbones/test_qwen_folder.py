"""Folders of the Qwen-VL families: written, read again, and opened by the library alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.backbones.tiny_qwen import FAMILIES, build_tiny_qwen, library_inputs
from torch import Tensor
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from medpref.backbones.families import family_of, load_backbone
from medpref.backbones.qwen_vl import QwenVLBackbone
from medpref.errors import InputError
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer

KINDS = list(FAMILIES)
NAMES = {"qwen2_vl": "qwen-vl", "qwen2_5_vl": "qwen-vl", "qwen3_vl": "qwen3-vl"}


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def saved(kind: str, tmp_path: Path) -> Path:
    build_tiny_qwen(kind).save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def picture() -> Image.Image:
    pixels = torch.randint(256, (20, 44, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def logits(model: Any, qwen: QwenVLBackbone, picture: Image.Image) -> Tensor:
    inputs = library_inputs(qwen, [("user", "<image>Where?")], [picture])
    with torch.no_grad():
        return model(**inputs).logits


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_loaded_model_is_the_saved_one(kind: str, saved: Path, pairs: list[Pair]) -> None:
    qwen, loaded = build_tiny_qwen(kind), load_backbone(saved)
    assert family_of(saved) == NAMES[kind]
    assert type(loaded) is type(qwen)
    for part in ("all", "tower"):
        assert loaded.fingerprint(part) == qwen.fingerprint(part)
    scores = [Scorer(model).score(pairs, list(Cell)) for model in (qwen, loaded)]
    for cell in Cell:
        assert torch.equal(scores[0][cell].tokens, scores[1][cell].tokens)
    assert loaded.response_ids("Yes µ") == qwen.response_ids("Yes µ")
    assert (loaded.max_length, loaded.stop_tokens) == (qwen.max_length, qwen.stop_tokens)


def test_a_second_round_changes_nothing(saved: Path, tmp_path: Path) -> None:
    load_backbone(saved).save(tmp_path / "again")
    first, second = ({p.name: p.read_bytes() for p in f.iterdir()} for f in (saved, tmp_path / "again"))
    assert first.keys() == second.keys()
    # The configurations gain fields that say the same again.
    same = {"model.safetensors", "chat_template.jinja", "preprocessor_config.json", "medpref.json"}
    assert {name for name in same if first[name] != second[name]} == set()
    one, other = (json.loads(files["tokenizer.json"]) for files in (first, second))
    assert one == other


def test_the_library_alone_opens_a_saved_model(kind: str, saved: Path, picture: Image.Image) -> None:
    qwen = build_tiny_qwen(kind)
    model = AutoModelForImageTextToText.from_pretrained(saved)
    assert torch.equal(logits(model, qwen, picture), logits(qwen.model, qwen, picture))
    tokenizer = AutoTokenizer.from_pretrained(saved)
    assert tokenizer.chat_template == qwen.tokenizer.chat_template
    assert tokenizer.encode("<|im_start|>Where? µ") == qwen.tokenizer.encode("<|im_start|>Where? µ")
    read = AutoImageProcessor.from_pretrained(saved, backend="pil")(picture, return_tensors="pt")
    assert torch.equal(read["pixel_values"], qwen.read_image(picture)["pixel_values"])


def test_tied_embeddings_stay_tied(kind: str, tmp_path: Path, picture: Image.Image) -> None:
    qwen = build_tiny_qwen(kind, tied=True)
    qwen.save(tmp_path / "tied")
    assert "lm_head.weight" not in load_file(tmp_path / "tied" / "model.safetensors")
    loaded = load_backbone(tmp_path / "tied")
    assert loaded.model.lm_head.weight is loaded.model.get_input_embeddings().weight
    assert torch.equal(logits(loaded.model, qwen, picture), logits(qwen.model, qwen, picture))


@pytest.mark.parametrize("tied", [False, True])
def test_weights_are_read_into_the_model_as_it_stands(
    kind: str, tmp_path: Path, picture: Image.Image, tied: bool
) -> None:
    build_tiny_qwen(kind, tied=tied).save(tmp_path / "first")
    other = build_tiny_qwen(kind, seed=1, tied=tied)
    weights = dict(other.model.named_parameters())
    expected = load_backbone(tmp_path / "first")
    assert not torch.equal(logits(other.model, other, picture), logits(expected.model, other, picture))
    other.load_weights(tmp_path / "first")
    assert torch.equal(logits(other.model, other, picture), logits(expected.model, other, picture))
    assert all(weights[name] is weight for name, weight in other.model.named_parameters())


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl"], indirect=True)
def test_published_folders_open(kind: str, saved: Path, picture: Image.Image) -> None:
    """They say of the language model beside what they say of the whole, and in older words."""
    path = saved / "config.json"
    config = json.loads(path.read_text())
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    text.pop("layer_types")
    old = {
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
    }
    path.write_text(json.dumps({**text, **old, **config}))
    template = (saved / "chat_template.jinja").read_text()
    (saved / "chat_template.jinja").unlink()
    (saved / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    change(saved / "tokenizer_config.json", chat_template="{{ messages }}")
    (saved / "medpref.json").unlink()
    qwen, loaded = build_tiny_qwen(kind), load_backbone(saved)
    assert torch.equal(logits(loaded.model, qwen, picture), logits(qwen.model, qwen, picture))
    assert loaded.prompt_ids("Where?") == qwen.prompt_ids("Where?")
    assert loaded.max_length == 512


def test_limits_of_pixels_are_set_and_saved(saved: Path, tmp_path: Path, picture: Image.Image) -> None:
    before = load_backbone(saved)
    loaded = load_backbone(saved, min_pixels=100, max_pixels=300)
    assert before.image_tokens(picture.size) == 12
    assert loaded.image_tokens(picture.size) == 3
    assert len(loaded.read_image(picture)["pixel_values"]) == 12
    assert loaded.fingerprint("tower") != before.fingerprint("tower")
    loaded.save(tmp_path / "again")
    assert load_backbone(tmp_path / "again").image_tokens(picture.size) == 3
    assert load_backbone(saved, min_pixels=2000).image_tokens(picture.size) > 12
    with pytest.raises(InputError, match=r"min_pixels \(3,000\) is more than max_pixels \(2,304\)"):
        load_backbone(saved, min_pixels=3000)


def test_what_is_said_of_videos_is_handed_on(saved: Path, tmp_path: Path) -> None:
    name, text = "video_preprocessor_config.json", '{"video_processor_type": "Qwen3VLVideoProcessor"}'
    (saved / name).write_text(text)
    load_backbone(saved).save(tmp_path / "again")
    assert (tmp_path / "again" / name).read_text() == text
    (saved / name).unlink()
    (saved / "processor_config.json").write_text(json.dumps({"video_processor": json.loads(text)}))
    (saved / "preprocessor_config.json").replace(saved / "spare.json")
    change(saved / "processor_config.json", image_processor=json.loads((saved / "spare.json").read_text()))
    load_backbone(saved).save(tmp_path / "third")
    assert json.loads((tmp_path / "third" / name).read_text()) == json.loads(text)


def test_an_outline_has_shapes_and_no_weights(saved: Path) -> None:
    outline = load_backbone(saved, weights=False)
    assert {weight.device.type for weight in outline.model.parameters()} == {"meta"}
    assert outline.image_tokens((32, 32)) == 16


def test_weights_in_half_precision(saved: Path, pairs: list[Pair]) -> None:
    loaded = load_backbone(saved, dtype="bfloat16")
    assert {weight.dtype for weight in loaded.model.parameters()} == {torch.bfloat16}
    whole, half = (
        Scorer(model).score(pairs, [Cell.CLEAN_CHOSEN]) for model in (load_backbone(saved), loaded)
    )
    assert (whole[Cell.CLEAN_CHOSEN].logps - half[Cell.CLEAN_CHOSEN].logps).abs().max() < 1


def test_a_wrong_folder_is_refused(saved: Path) -> None:
    with pytest.raises(InputError, match="their own chat template"):
        load_backbone(saved, template="huatuo")
    path = saved / "model.safetensors"
    weights = load_file(path)
    merger = next(name for name in weights if ".merger." in name)
    save_file({name: weight for name, weight in weights.items() if name != merger}, path, {"format": "pt"})
    with pytest.raises(InputError, match="1 tensors are missing, left over or of the wrong shape"):
        load_backbone(saved)
    save_file({**weights, "visual.spare": torch.zeros(2)}, path, {"format": "pt"})
    with pytest.raises(InputError, match="spare"):
        load_backbone(saved)


def test_a_folder_without_a_template_or_tokenizer_is_refused(saved: Path) -> None:
    (saved / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        load_backbone(saved)
    (saved / "chat_template.json").write_text("[]")
    with pytest.raises(InputError, match="no chat_template in this file"):
        load_backbone(saved)
    (saved / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match="tokenizer or image processor cannot be read"):
        load_backbone(saved)


def test_a_template_that_opens_a_thought_is_refused(saved: Path) -> None:
    path = saved / "chat_template.jinja"
    path.write_text(path.read_text().replace("<|im_start|>assistant\n", "<|im_start|>assistant\n<think>\n"))
    with pytest.raises(InputError, match="does not show where an answer ends"):
        load_backbone(saved)


def test_the_fingerprint_follows_what_it_should(kind: str) -> None:
    qwen, same = build_tiny_qwen(kind), build_tiny_qwen(kind)
    whole, tower = qwen.fingerprint(), qwen.fingerprint("tower")
    assert (same.fingerprint(), same.fingerprint("tower")) == (whole, tower)
    same.tokenizer.chat_template += " "
    assert same.fingerprint() != whole
    assert same.fingerprint("tower") == tower
    with torch.no_grad():
        qwen.model.model.visual.merger(torch.zeros(4, 24))
        next(qwen.model.model.visual.merger.parameters()).add_(1)
    assert qwen.fingerprint() != whole
    assert qwen.fingerprint("tower") == tower
    with torch.no_grad():
        next(qwen.model.model.visual.blocks.parameters()).add_(1)
    assert qwen.fingerprint("tower") != tower
