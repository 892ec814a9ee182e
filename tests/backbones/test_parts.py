from typing import TYPE_CHECKING

import pytest

from medpref.backbones.tiny import TinyLlavaSettings, build_tiny_llava, text_families
from medpref.errors import InputError

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone

PREFIXES = {
    "tower": "model.vision_tower.",
    "projector": "model.multi_modal_projector.",
    "language_model": "model.language_model.",
}


@pytest.mark.parametrize("part", list(PREFIXES))
def test_freezing_a_part_stops_its_parameters_and_no_others(backbone: "LlavaBackbone", part: str) -> None:
    backbone.freeze([part])
    for name, parameter in backbone.model.named_parameters():
        assert parameter.requires_grad == (not name.startswith(PREFIXES[part])), name


def test_freezing_nothing_leaves_all_trainable(backbone: "LlavaBackbone") -> None:
    backbone.freeze(())
    assert all(parameter.requires_grad for parameter in backbone.model.parameters())


def test_an_unknown_part_gets_the_nearest(backbone: "LlavaBackbone") -> None:
    with pytest.raises(InputError, match=r"freeze: there is no part called 'towr'[\s\S]*'tower'"):
        backbone.freeze(["towr"])


def test_the_seed_decides_the_weights() -> None:
    sizes = TinyLlavaSettings(
        image_size=16, width=16, vision_layers=1, text_layers=1, heads=2, vocabulary=280
    )
    texts = ["a lesion"]
    sums = [
        sum(parameter.double().sum().item() for parameter in model.model.parameters())
        for model in (build_tiny_llava("qwen2", texts, sizes, seed) for seed in (0, 0, 1))
    ]
    assert sums[0] == sums[1] != sums[2]


def test_an_unknown_text_family_gets_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'mistral'"):
        build_tiny_llava("mistrall", [], TinyLlavaSettings(), 0)
    assert list(text_families) == ["mistral", "qwen2"]


def test_qwen2_has_no_begin_token_and_mistral_has(make_backbone) -> None:
    assert make_backbone("qwen2").tokenizer.bos_token_id is None
    mistral = make_backbone("mistral")
    assert mistral.prompt_ids("a")[0] == mistral.tokenizer.bos_token_id is not None
