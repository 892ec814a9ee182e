"""Tiny random checkpoints in the layouts of LLaVA-Med v1.5 and HuatuoGPT-Vision, tokenizer included."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

KINDS = ("llava_mistral", "llava_qwen2")
TEXTS = (
    "Is there a lesion in the left lung?",
    "[INST] Where is the lesion? [/INST] Yes, in the upper lobe.",
    "<|user|>\nDescribe the image.\n<|assistant|>\nNo, the lung is clear.",
)
TOWER = "model.vision_tower.vision_tower.vision_model."
WIDTH, LAYERS, HEADS, GROUPS, INNER = 32, 2, 4, 2, 48
TOWER_LAYERS, PATCH, SIDE = 3, 8, 4
SPARE_ROWS = 9
"""Rows of llava_qwen2's embedding that no token has, as in the real one."""
SHARED = {
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "hidden_size": WIDTH,
    "image_aspect_ratio": "pad",
    "initializer_range": 0.02,
    "intermediate_size": INNER,
    "max_position_embeddings": 256,
    "mm_projector_type": "mlp2x_gelu",
    "mm_use_im_patch_token": False,
    "mm_use_im_start_end": False,
    "mm_vision_select_feature": "patch",
    "mm_vision_select_layer": -2,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": GROUPS,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
    "tokenizer_model_max_length": 128,
    "transformers_version": "4.36.2",
    "use_cache": True,
    "use_mm_proj": True,
}
OWN: dict[str, dict[str, Any]] = {
    "llava_mistral": {
        "architectures": ["LlavaMistralForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "mm_hidden_size": 128,
        "mm_vision_tower": "openai/clip-vit-large-patch14-336",
        "sliding_window": None,
    },
    "llava_qwen2": {
        "architectures": ["LlavaQwen2ForCausalLM"],
        "bos_token_id": 0,
        "eos_token_id": 0,
        "max_window_layers": 1,
        "mm_hidden_size": 64,
        "mm_vision_tower": "vit/clip_vit_large_patch14_336",
        "sliding_window": 131072,
        "use_sliding_window": False,
        "vision_config": {"num_attention_heads": 4, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-6},
    },
}


def original_checkpoint(
    folder: Path,
    kind: str,
    *,
    dtype: torch.dtype = torch.float32,
    shards: int = 3,
    suffix: str = "safetensors",
    **changes: Any,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Write a checkpoint; return its configuration and tensors.

    Args:
        folder: where to.
        kind: one of `KINDS`.
        dtype: of all tensors.
        shards: how many files; 1 has no index.
        suffix: safetensors or bin.
        changes: of the configuration; None removes a key.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, settings = {"llava_mistral": sentencepiece_like, "llava_qwen2": byte_level}[kind]()
    rows = tokenizer.get_vocab_size() + (SPARE_ROWS if kind == "llava_qwen2" else 0)
    config = {"model_type": kind, "vocab_size": rows, "torch_dtype": str(dtype).removeprefix("torch.")}
    config |= SHARED | OWN[kind] | changes
    config = {key: value for key, value in config.items() if key not in changes or value is not None}
    tensors = {name: tensor.to(dtype) for name, tensor in random_tensors(config).items()}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": config["eos_token_id"]}))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    save_tensors(folder, tensors, shards, suffix)
    return config, tensors


def save_tensors(folder: Path, tensors: dict[str, Tensor], shards: int, suffix: str) -> None:
    stem = {"safetensors": "model", "bin": "pytorch_model"}[suffix]
    names = sorted(tensors)
    places = {}
    for number in range(shards):
        file = f"{stem}-{number + 1:05d}-of-{shards:05d}.{suffix}" if shards > 1 else f"{stem}.{suffix}"
        part = {name: tensors[name].contiguous() for name in names[number::shards]}
        places |= dict.fromkeys(part, file)
        if suffix == "bin":
            torch.save(part, folder / file)
        else:
            save_file(part, folder / file, metadata={"format": "pt"})
    if shards > 1:
        index = {"metadata": {"total_size": 0}, "weight_map": places}
        (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index))


def random_tensors(config: dict[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """Return weights that are large enough for every mistake to show in the logits."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, mean: float = 0.0, scale: float = 0.15) -> Tensor:
        return mean + scale * torch.randn(shape, generator=generator)

    tensors = tower_tensors(config["mm_hidden_size"], normal)
    for layer, inputs in (("0", config["mm_hidden_size"]), ("2", WIDTH)):
        tensors[f"model.mm_projector.{layer}.weight"] = normal(WIDTH, inputs)
        tensors[f"model.mm_projector.{layer}.bias"] = normal(WIDTH)
    size = WIDTH // HEADS
    for number in range(config["num_hidden_layers"]):
        at = f"model.layers.{number}."
        for name, out, into in (
            ("self_attn.q_proj", WIDTH, WIDTH),
            ("self_attn.k_proj", GROUPS * size, WIDTH),
            ("self_attn.v_proj", GROUPS * size, WIDTH),
            ("self_attn.o_proj", WIDTH, WIDTH),
            ("mlp.gate_proj", INNER, WIDTH),
            ("mlp.up_proj", INNER, WIDTH),
            ("mlp.down_proj", WIDTH, INNER),
        ):
            tensors[f"{at}{name}.weight"] = normal(out, into, scale=0.2)
            if config["model_type"] == "llava_qwen2" and name[-6:] in ("q_proj", "k_proj", "v_proj"):
                tensors[f"{at}{name}.bias"] = normal(out, scale=0.3)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{at}{norm}.weight"] = normal(WIDTH, mean=1.0)
    tensors["model.norm.weight"] = normal(WIDTH, mean=1.0)
    tensors["model.embed_tokens.weight"] = normal(config["vocab_size"], WIDTH, scale=0.5)
    tensors["lm_head.weight"] = normal(config["vocab_size"], WIDTH)
    return tensors


def tower_tensors(width: int, normal: Any) -> dict[str, Tensor]:
    tensors = {
        "embeddings.class_embedding": normal(width),
        "embeddings.patch_embedding.weight": normal(width, 3, PATCH, PATCH),
        "embeddings.position_embedding.weight": normal(SIDE**2 + 1, width),
    }
    norms = ["pre_layrnorm", "post_layernorm"]
    for number in range(TOWER_LAYERS):
        at = f"encoder.layers.{number}."
        norms += [f"{at}layer_norm1", f"{at}layer_norm2"]
        linear = [(f"{at}self_attn.{name}_proj", width, width) for name in ("q", "k", "v", "out")]
        linear += [(f"{at}mlp.fc1", 2 * width, width), (f"{at}mlp.fc2", width, 2 * width)]
        for name, out, into in linear:
            tensors[f"{name}.weight"] = normal(out, into)
            tensors[f"{name}.bias"] = normal(out)
    for name in norms:
        tensors[f"{name}.weight"] = normal(width, mean=1.0)
        tensors[f"{name}.bias"] = normal(width)
    return {TOWER + name: tensor for name, tensor in tensors.items()}


def sentencepiece_like() -> tuple[Tokenizer, dict[str, Any]]:
    """Return a tokenizer as Llama's are: a blank before every text, bytes for what is unknown."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=150, show_progress=False))
    learned = json.loads(trained.to_str())["model"]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *learned["vocab"]]
    tokenizer = Tokenizer(
        models.BPE(
            {piece: number for number, piece in enumerate(pieces)},
            [tuple(pair) for pair in learned["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    settings = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<unk>",
        "legacy": True,
        "model_max_length": 128,
        "tokenizer_class": "LlamaTokenizer",
    }
    return tokenizer, settings


def byte_level() -> tuple[Tokenizer, dict[str, Any]]:
    """Return a tokenizer as Qwen2's are: no token at the beginning."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    settings = {
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": 128,
        "tokenizer_class": "Qwen2Tokenizer",
    }
    return tokenizer, settings
