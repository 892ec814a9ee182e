import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from medpref.backbones import load_backbone
from medpref.errors import InputError
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone

HEAD = "language_model.lm_head.weight"


def logits(backbone: "LlavaBackbone") -> Tensor:
    ids = torch.tensor([backbone.prompt_ids("<image>\nWhere?")])
    pixels = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
    with torch.no_grad():
        return backbone.model(input_ids=ids, pixel_values=pixels).logits


@pytest.fixture
def saved(make_backbone, tmp_path: Path) -> Path:
    make_backbone("mistral").save(tmp_path / "model")
    return tmp_path / "model"


def change(folder: Path, **tensors: Tensor | None) -> None:
    weights = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        weights.pop(name, None)
        if tensor is not None:
            weights[name] = tensor
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_loaded_model_is_the_saved_one_bit_for_bit(
    backbone: "LlavaBackbone", pairs: list[Pair], tmp_path: Path
) -> None:
    backbone.save(tmp_path / "model")
    loaded = load_backbone(tmp_path / "model")
    assert torch.equal(logits(loaded), logits(backbone))
    scores = [Scorer(model).score(pairs, list(Cell)) for model in (backbone, loaded)]
    for cell in Cell:
        assert torch.equal(scores[0][cell].logps, scores[1][cell].logps)


def test_a_loaded_model_knows_template_and_length(backbone: "LlavaBackbone", tmp_path: Path) -> None:
    backbone.save(tmp_path / "model")
    loaded = load_backbone(tmp_path / "model")
    assert loaded.template is backbone.template
    assert loaded.max_length == backbone.max_length
    assert loaded.image_tokens == backbone.image_tokens
    assert loaded.model.config._attn_implementation == "sdpa"
    for text in ("<image>\nWhere is it?", "µ"):
        assert loaded.prompt_ids(text) == backbone.prompt_ids(text)
        assert loaded.response_ids(text) == backbone.response_ids(text)


def test_a_second_round_changes_nothing(saved: Path, tmp_path: Path) -> None:
    load_backbone(saved).save(tmp_path / "again")
    first, second = (load_file(folder / "model.safetensors") for folder in (saved, tmp_path / "again"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_settings_go_before_what_the_folder_says(saved: Path) -> None:
    loaded = load_backbone(saved, template="huatuo", max_length=77)
    assert (loaded.template_name, loaded.max_length) == ("huatuo", 77)


def test_a_missing_tensor_is_refused(saved: Path) -> None:
    change(saved, **{HEAD: None})
    with pytest.raises(InputError, match="1 tensors are missing, left over or of the wrong shape"):
        load_backbone(saved)


def test_a_tensor_too_many_is_refused(saved: Path) -> None:
    change(saved, **{"language_model.spare.weight": torch.zeros(2)})
    with pytest.raises(InputError, match=r"such as .*spare\.weight"):
        load_backbone(saved)


def test_a_renamed_tensor_is_refused(saved: Path) -> None:
    head = load_file(saved / "model.safetensors")[HEAD]
    change(saved, **{HEAD: None, "language_model.lm_heed.weight": head})
    with pytest.raises(InputError, match="2 tensors are missing, left over"):
        load_backbone(saved)


def test_a_tensor_of_the_wrong_shape_is_refused(saved: Path) -> None:
    change(saved, **{HEAD: torch.zeros(3, 32)})
    with pytest.raises(InputError, match="wrong shape"):
        load_backbone(saved)


def test_a_file_cut_short_is_refused_with_its_folder(saved: Path) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="model"):
        load_backbone(saved)


def test_a_folder_without_a_template_wants_one(saved: Path) -> None:
    (saved / "medpref.json").unlink()
    with pytest.raises(InputError, match="no chat template is named") as caught:
        load_backbone(saved)
    assert "mistral-instruct" in str(caught.value.remedy)
    assert load_backbone(saved, template="mistral-instruct").max_length == 128


def test_an_unknown_template_in_the_folder_is_refused(saved: Path) -> None:
    (saved / "medpref.json").write_text(json.dumps({"template": "mistral-instruct-2"}))
    with pytest.raises(InputError, match="Did you mean 'mistral-instruct'"):
        load_backbone(saved)


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this folder holds no model"):
        load_backbone(tmp_path)
