"""Checkpoints that cannot be converted are refused by name."""

import json
from pathlib import Path

import pytest
import torch
from tests.conversion.checkpoints import KINDS, original_checkpoint, save_tensors

from medpref.conversion import convert_checkpoint
from medpref.conversion.folder import unfinished_folder
from medpref.errors import InputError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    original_checkpoint(tmp_path / "original", "llava_mistral")
    return tmp_path / "original"


def refuse(source: Path, message: str) -> None:
    with pytest.raises(InputError, match=message):
        convert_checkpoint(source, source.parent / "plain")
    assert not (source.parent / "plain").exists()
    assert not unfinished_folder(source.parent / "plain").exists()


WRONG = [
    ({"model_type": "llava_llama"}, "model_type 'llava_llama' is not of an original LLaVA checkpoint"),
    ({"mm_use_im_start_end": True}, "mm_use_im_start_end is True; only False can be converted"),
    ({"mm_use_im_patch_token": True}, "mm_use_im_patch_token is True"),
    ({"mm_use_im_patch_token": None}, "mm_use_im_patch_token is not set, which means True"),
    ({"mm_projector_type": "linear"}, "mm_projector_type is 'linear'; only 'mlp2x_gelu'"),
    ({"mm_vision_select_feature": "cls_patch"}, "mm_vision_select_feature is 'cls_patch'"),
    ({"mm_vision_select_layer": None}, "mm_vision_select_layer is None"),
    ({"image_aspect_ratio": "anyres"}, "image_aspect_ratio is 'anyres'; only 'pad'"),
    ({"mm_patch_merge_type": "spatial_unpad"}, "mm_patch_merge_type is 'spatial_unpad'"),
    ({"tie_word_embeddings": True}, "tie_word_embeddings is True"),
    ({"rope_theta": None, "sliding_window": None}, "the configuration lacks rope_theta, sliding_window"),
    ({"num_hidden_layers": 3}, r"9 missing: text\.layers\.2"),
    ({"intermediate_size": 40}, r"6 of the wrong shape: text\.layers\.0\.mlp\.down_proj\.weight \(32, 48\)"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_another_architecture_is_refused(source: Path, changes: dict, message: str) -> None:
    path = source / "config.json"
    config = json.loads(path.read_text()) | changes
    kept = {k: v for k, v in config.items() if k not in changes or v is not None}
    path.write_text(json.dumps(kept))
    refuse(source, message)


def test_a_missing_index_is_named(source: Path) -> None:
    (source / "model.safetensors.index.json").unlink()
    refuse(source, r"the shards have no index \(model\.safetensors\.index\.json\)")


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_missing_shard_is_named(tmp_path: Path, suffix: str) -> None:
    original_checkpoint(tmp_path / "original", "llava_qwen2", suffix=suffix)
    path = next((tmp_path / "original").glob(f"*00002-of-00003.{suffix}"))
    path.unlink()
    refuse(tmp_path / "original", f"1 of 3 shards are missing: {path.name}")


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_shard_cut_short_is_named(tmp_path: Path, suffix: str) -> None:
    original_checkpoint(tmp_path / "original", "llava_qwen2", suffix=suffix)
    path = next((tmp_path / "original").glob(f"*00002-of-00003.{suffix}"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refuse(tmp_path / "original", rf"{path.name}: the file cannot be read, perhaps it is cut short")


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path(tmp_path / "ran"),)

    original_checkpoint(tmp_path / "original", "llava_qwen2", suffix="bin", shards=1)
    torch.save({"lm_head.weight": Evil()}, tmp_path / "original" / "pytorch_model.bin")
    refuse(tmp_path / "original", "the file cannot be read")
    assert not (tmp_path / "ran").exists()


def test_an_index_may_not_lead_out_of_the_folder(source: Path) -> None:
    path = source / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["lm_head.weight"] = "../other/model.safetensors"
    path.write_text(json.dumps(index))
    refuse(source, "the index names a file outside of its folder")


def test_shards_of_another_version_are_refused(source: Path) -> None:
    path = source / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    del index["weight_map"]["lm_head.weight"]
    path.write_text(json.dumps(index))
    refuse(source, "index and shards do not agree on 1 tensors, such as lm_head.weight")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.image_newline", r"1 tensors are not of the original LLaVA layout: model\.image_newline"),
        ("model.mm_projector.4.weight", r"1 tensors are not of .*: model\.mm_projector\.4\.weight"),
        ("model.layers.0.mlp.spare.weight", r"1 left over: text\.layers\.0\.mlp\.spare\.weight"),
    ],
)
def test_a_tensor_too_many_is_named(tmp_path: Path, name: str, message: str) -> None:
    _, tensors = original_checkpoint(tmp_path / "original", "llava_mistral")
    save_tensors(tmp_path / "original", tensors | {name: torch.zeros(2)}, 3, "safetensors")
    refuse(tmp_path / "original", message)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    _, tensors = original_checkpoint(tmp_path / "original", "llava_mistral")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_tensors(tmp_path / "original", tensors, 3, "safetensors")
    refuse(tmp_path / "original", r"1 missing: text\.layers\.1\.mlp\.up_proj\.weight")


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    original_checkpoint(tmp_path / "original", "llava_mistral")
    path = tmp_path / "original" / "tokenizer.json"
    state = json.loads(path.read_text())
    first, known = state["added_tokens"][0], len(state["model"]["vocab"])
    state["added_tokens"].append({**first, "id": known, "content": "<extra>"})
    path.write_text(json.dumps(state))
    refuse(tmp_path / "original", r"the tokenizer has \d+ tokens, the embedding \d+ rows")


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_without_a_tokenizer_is_refused(kind: str, tmp_path: Path) -> None:
    original_checkpoint(tmp_path / "original", kind)
    (tmp_path / "original" / "tokenizer.json").unlink()
    refuse(tmp_path / "original", "the checkpoint holds no tokenizer")
