"""The forward pass of the original LLaVA-Med and HuatuoGPT-Vision architectures in plain PyTorch.

Written from the papers and from what the tensors are called; nothing of medpref or transformers is used.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

IMAGE = -200
"""What stands for an image among the ids."""
Tensors = Mapping[str, Tensor]


def original_logits(
    config: Mapping[str, Any], tensors: Tensors, ids: Sequence[int], images: Sequence[Tensor]
) -> Tensor:
    """Return the logits (positions, vocabulary) of one sequence; an image takes as many as it has patches."""
    table = tensors["model.embed_tokens.weight"]
    left = iter(images)
    parts = [
        project(tensors, patches(config, tensors, next(left))) if number == IMAGE else table[number][None]
        for number in ids
    ]
    hidden = torch.cat(parts)
    for number in range(config["num_hidden_layers"]):
        hidden = decoder_layer(config, tensors, f"model.layers.{number}.", hidden)
    return rms_norm(config, tensors, "model.norm", hidden) @ tensors["lm_head.weight"].T


def patches(config: Mapping[str, Any], tensors: Tensors, pixels: Tensor) -> Tensor:
    """Return the states (patches, width) of CLIP's last layer but one, without the class token."""
    at = "model.vision_tower.vision_tower.vision_model."
    own = {name.removeprefix(at): tensor for name, tensor in tensors.items() if name.startswith(at)}
    said = config.get("vision_config", {})
    width = own["embeddings.class_embedding"].shape[0]
    heads, eps = said.get("num_attention_heads", width // 64), said.get("layer_norm_eps", 1e-5)
    kernel = own["embeddings.patch_embedding.weight"]
    grid = functional.conv2d(pixels[None], kernel, stride=kernel.shape[-1])[0].flatten(1).T
    states = torch.cat([own["embeddings.class_embedding"][None], grid])
    states = states + own["embeddings.position_embedding.weight"]

    def norm(name: str, x: Tensor) -> Tensor:
        return functional.layer_norm(x, (width,), own[f"{name}.weight"], own[f"{name}.bias"], eps)

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ own[f"{name}.weight"].T + own[f"{name}.bias"]

    layers = len({name.split(".")[2] for name in own if name.startswith("encoder.layers.")})
    activation = {"quick_gelu": lambda x: x * torch.sigmoid(1.702 * x), "gelu": exact_gelu}
    hidden = [norm("pre_layrnorm", states)]
    for number in range(layers):
        x, at = hidden[-1], f"encoder.layers.{number}."
        y = norm(f"{at}layer_norm1", x)
        query, key, value = (split(linear(f"{at}self_attn.{n}_proj", y), heads) for n in "qkv")
        x = x + linear(f"{at}self_attn.out_proj", attend(query, key, value, None))
        y = linear(f"{at}mlp.fc1", norm(f"{at}layer_norm2", x))
        hidden.append(x + linear(f"{at}mlp.fc2", activation[said.get("hidden_act", "quick_gelu")](y)))
    return hidden[config["mm_vision_select_layer"]][1:]


def exact_gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def project(tensors: Tensors, x: Tensor) -> Tensor:
    at = "model.mm_projector."
    x = exact_gelu(x @ tensors[f"{at}0.weight"].T + tensors[f"{at}0.bias"])
    return x @ tensors[f"{at}2.weight"].T + tensors[f"{at}2.bias"]


def decoder_layer(config: Mapping[str, Any], tensors: Tensors, at: str, x: Tensor) -> Tensor:
    def linear(name: str, y: Tensor) -> Tensor:
        out = y @ tensors[f"{at}{name}.weight"].T
        return out + tensors[f"{at}{name}.bias"] if f"{at}{name}.bias" in tensors else out

    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    y = rms_norm(config, tensors, f"{at}input_layernorm", x)
    query = rotate(config, split(linear("self_attn.q_proj", y), heads))
    key = rotate(config, split(linear("self_attn.k_proj", y), groups))
    value = split(linear("self_attn.v_proj", y), groups)
    # Neighbouring query heads share one key and value.
    key, value = (z.repeat_interleave(heads // groups, dim=0) for z in (key, value))
    causal = torch.ones(len(x), len(x), dtype=torch.bool).tril()
    x = x + linear("self_attn.o_proj", attend(query, key, value, causal))
    y = rms_norm(config, tensors, f"{at}post_attention_layernorm", x)
    gate = linear("mlp.gate_proj", y)
    return x + linear("mlp.down_proj", gate * torch.sigmoid(gate) * linear("mlp.up_proj", y))


def rms_norm(config: Mapping[str, Any], tensors: Tensors, name: str, x: Tensor) -> Tensor:
    return (
        x / torch.sqrt(x.square().mean(-1, keepdim=True) + config["rms_norm_eps"]) * tensors[f"{name}.weight"]
    )


def split(x: Tensor, heads: int) -> Tensor:
    """Return (heads, positions, width of a head)."""
    return x.view(len(x), heads, -1).transpose(0, 1)


def rotate(config: Mapping[str, Any], x: Tensor) -> Tensor:
    """Rotate by position: channel i and channel i + half form a pair."""
    half = x.shape[-1] // 2
    rates = config["rope_theta"] ** (-torch.arange(half) / half)
    angle = torch.arange(x.shape[1])[:, None] * rates
    first, second = x[..., :half], x[..., half:]
    return torch.cat(
        [first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], dim=-1
    )


def attend(query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None) -> Tensor:
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    if seen is not None:
        scores = scores.masked_fill(~seen, float("-inf"))
    return (scores.softmax(-1) @ value).transpose(0, 1).flatten(1)
