"""The real models' sizes: files of holes, with headers as large as the real ones."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tests.conversion.checkpoints import OWN, SHARED
from tokenizers import Tokenizer, models

from medpref.backbones import load_backbone
from medpref.conversion import convert_checkpoint

TOWER = "model.vision_tower.vision_tower.vision_model."
# (configuration, tokenizer length, tensors, bytes); the last two as the published indexes have them.
REAL: dict[str, tuple[dict[str, Any], int, int, int | None]] = {
    "llava_mistral": (
        {
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_attention_heads": 32,
            "num_hidden_layers": 32,
            "num_key_value_heads": 8,
            "vocab_size": 32000,
        },
        32000,
        686,
        15_132_438_528,
    ),
    "llava_qwen2": (
        {
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_attention_heads": 28,
            "num_hidden_layers": 28,
            "num_key_value_heads": 4,
            "vocab_size": 152064,
        },
        151646,
        734,
        None,
    ),
}


def shapes(config: dict[str, Any], biases: bool) -> dict[str, tuple[int, ...]]:
    width, inner, rows = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    keys = width // config["num_attention_heads"] * config["num_key_value_heads"]
    made: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (rows, width),
        "lm_head.weight": (rows, width),
        "model.norm.weight": (width,),
        f"{TOWER}embeddings.class_embedding": (1024,),
        f"{TOWER}embeddings.patch_embedding.weight": (1024, 3, 14, 14),
        f"{TOWER}embeddings.position_embedding.weight": (577, 1024),
    }

    def linear(name: str, out: int, into: int, bias: bool = True) -> None:
        made[f"{name}.weight"] = (out, into)
        if bias:
            made[f"{name}.bias"] = (out,)

    def norm(name: str) -> None:
        made[f"{name}.weight"] = made[f"{name}.bias"] = (1024,)

    linear("model.mm_projector.0", width, 1024)
    linear("model.mm_projector.2", width, width)
    norm(f"{TOWER}pre_layrnorm")
    norm(f"{TOWER}post_layernorm")
    for number in range(24):
        at = f"{TOWER}encoder.layers.{number}."
        for name in ("q", "k", "v", "out"):
            linear(f"{at}self_attn.{name}_proj", 1024, 1024)
        linear(f"{at}mlp.fc1", 4096, 1024)
        linear(f"{at}mlp.fc2", 1024, 4096)
        norm(f"{at}layer_norm1")
        norm(f"{at}layer_norm2")
    for number in range(config["num_hidden_layers"]):
        at = f"model.layers.{number}."
        for name, out in (("q", width), ("k", keys), ("v", keys)):
            linear(f"{at}self_attn.{name}_proj", out, width, biases)
        linear(f"{at}self_attn.o_proj", width, width, bias=False)
        linear(f"{at}mlp.gate_proj", inner, width, bias=False)
        linear(f"{at}mlp.up_proj", inner, width, bias=False)
        linear(f"{at}mlp.down_proj", width, inner, bias=False)
        made[f"{at}input_layernorm.weight"] = made[f"{at}post_attention_layernorm.weight"] = (width,)
    return made


def hollow_checkpoint(folder: Path, kind: str) -> None:
    """Write a checkpoint of zeros that takes no space on the disk."""
    sizes, words, _, _ = REAL[kind]
    own = {key: value for key, value in OWN[kind].items() if key != "vision_config"}
    config = SHARED | own | sizes | {"model_type": kind, "torch_dtype": "bfloat16", "mm_hidden_size": 1024}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer(models.WordLevel({f"w{number}": number for number in range(words)}, unk_token="w0"))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "w2", "unk_token": "w0"}))
    entries, start = {}, 0
    for name, shape in shapes(config, kind == "llava_qwen2").items():
        end = start + 2 * math.prod(shape)
        entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
        start = end
    header = json.dumps(entries).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + start)


@pytest.mark.parametrize("kind", ["llava_mistral", pytest.param("llava_qwen2", marks=pytest.mark.slow)])
def test_the_real_models_find_their_place(kind: str, tmp_path: Path) -> None:
    hollow_checkpoint(tmp_path / "med", kind)
    _, words, count, size = REAL[kind]
    conversion = convert_checkpoint(tmp_path / "med", tmp_path / "plain", dry_run=True)
    assert len(conversion.placed) == count
    if size is not None:
        assert sum(placed.files.infos[placed.source].nbytes for placed in conversion.placed) == size
    backbone = load_backbone(tmp_path / "med", weights=False)
    assert backbone.image_token == words
    assert backbone.image_tokens == 576
    vision = backbone.model.config.vision_config
    assert (vision.num_attention_heads, vision.image_size, vision.patch_size) == (16, 336, 14)
    assert (vision.num_hidden_layers, vision.intermediate_size, vision.hidden_act) == (24, 4096, "quick_gelu")
    rows = backbone.model.lm_head.weight.shape[0]
    assert rows == {"llava_mistral": 32001, "llava_qwen2": 152064}[kind]
