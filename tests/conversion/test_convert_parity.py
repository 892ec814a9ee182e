"""Converted models give the numbers of the original architecture, whichever way they are loaded and saved."""

from pathlib import Path

import pytest
import torch
from tests.conversion.checkpoints import KINDS, PATCH, SIDE, original_checkpoint
from tests.conversion.original_forward import IMAGE, original_logits
from torch import Tensor
from transformers import AutoModelForImageTextToText

from medpref.backbones import load_backbone
from medpref.backbones.llava import LlavaBackbone
from medpref.conversion import convert_checkpoint, restore_original

SEQUENCES = (
    [5, IMAGE, 9, 11, 30, 7],
    [IMAGE, 40, IMAGE, 41, 6, 12, 13],
    [3, 8, 21, 22, 23],
)


def images(row: list[int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(sum(row) % 1000)
    size = SIDE * PATCH
    return [torch.randn(3, size, size, generator=generator) for number in row if number == IMAGE]


def wanted(config: dict, tensors: dict[str, Tensor]) -> list[Tensor]:
    # In float64: only the library's own rounding is then left.
    exact = {name: tensor.double() for name, tensor in tensors.items()}
    shown = [[pixels.double() for pixels in images(row)] for row in SEQUENCES]
    return [original_logits(config, exact, row, pixels) for row, pixels in zip(SEQUENCES, shown, strict=True)]


@torch.no_grad()
def found(model: torch.nn.Module, image: int, vocabulary: int, rows: list[list[int]]) -> list[Tensor]:
    """Return the library's logits of one right-padded batch, without the padding."""
    wide = [
        [t for number in row for t in ([image] * SIDE**2 if number == IMAGE else [number])] for row in rows
    ]
    longest = max(map(len, wide))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in wide])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in wide])
    pixels = [pixels for row in rows for pixels in images(row)]
    logits = model(
        input_ids=ids, attention_mask=mask, pixel_values=torch.stack(pixels) if pixels else None
    ).logits
    return [logits[number, : len(row), :vocabulary] for number, row in enumerate(wide)]


def logits_of(backbone: LlavaBackbone, vocabulary: int) -> list[Tensor]:
    return found(backbone.model, backbone.image_token, vocabulary, [*SEQUENCES])


def check(got: list[Tensor], expected: list[Tensor]) -> None:
    for logits, right in zip(got, expected, strict=True):
        assert right.std() > 0.5
        torch.testing.assert_close(logits.double(), right, atol=1e-5, rtol=0)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_converted_model_is_the_original(kind: str, suffix: str, tmp_path: Path) -> None:
    config, tensors = original_checkpoint(tmp_path / "original", kind, suffix=suffix)
    convert_checkpoint(tmp_path / "original", tmp_path / "plain", shard_bytes=60_000)
    backbone = load_backbone(tmp_path / "plain")
    expected = wanted(config, tensors)
    check(logits_of(backbone, config["vocab_size"]), expected)
    for row, right in zip(SEQUENCES, expected, strict=True):
        alone = found(backbone.model, backbone.image_token, config["vocab_size"], [row])
        check(alone, [right])


@pytest.mark.parametrize("kind", KINDS)
def test_loading_and_saving_changes_no_logit(kind: str, tmp_path: Path) -> None:
    config, _ = original_checkpoint(tmp_path / "original", kind)
    convert_checkpoint(tmp_path / "original", tmp_path / "plain")
    first = load_backbone(tmp_path / "plain")
    first.save(tmp_path / "again")
    second = load_backbone(tmp_path / "again")
    direct = load_backbone(tmp_path / "original")
    direct.save(tmp_path / "direct")
    third = load_backbone(tmp_path / "direct")
    vocabulary = config["vocab_size"]
    for other in (second, direct, third):
        for a, b in zip(logits_of(first, vocabulary), logits_of(other, vocabulary), strict=True):
            assert torch.equal(a, b)
        assert other.fingerprint() == first.fingerprint()


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_plain_transformers_gives_the_same_logits(kind: str, saved: bool, tmp_path: Path) -> None:
    config, tensors = original_checkpoint(tmp_path / "original", kind)
    convert_checkpoint(tmp_path / "original", tmp_path / "plain")
    if saved:
        load_backbone(tmp_path / "plain").save(tmp_path / "saved")
    model, report = AutoModelForImageTextToText.from_pretrained(
        tmp_path / ("saved" if saved else "plain"), output_loading_info=True
    )
    assert not any(report.values())
    image = model.config.image_token_index
    check(found(model, image, config["vocab_size"], [*SEQUENCES]), wanted(config, tensors))


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_the_tower_has_the_activation_that_the_configuration_names(activation: str, tmp_path: Path) -> None:
    vision = {"num_attention_heads": 2, "hidden_act": activation}
    config, tensors = original_checkpoint(tmp_path / "original", "llava_qwen2", vision_config=vision)
    check(logits_of(load_backbone(tmp_path / "original"), config["vocab_size"]), wanted(config, tensors))


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_model_goes_back_to_the_original_layout(kind: str, tmp_path: Path) -> None:
    config, _ = original_checkpoint(tmp_path / "original", kind)
    backbone = load_backbone(tmp_path / "original")
    with torch.no_grad():
        for weight in backbone.model.parameters():
            weight.add_(0.01 * torch.ones_like(weight).cumsum(0) / len(weight))
    backbone.save(tmp_path / "trained")
    conversion = restore_original(tmp_path / "trained", tmp_path / "back", shard_bytes=60_000)
    tensors = {placed.name: placed.tensor() for placed in conversion.placed}
    check(logits_of(backbone, config["vocab_size"]), wanted(config, tensors))
    check(logits_of(load_backbone(tmp_path / "back"), config["vocab_size"]), wanted(config, tensors))
