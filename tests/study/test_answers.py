from typing import TYPE_CHECKING

import pytest

from medpref.pairs.pair import ImageRole, Pair
from medpref.scoring.inputs import InputCache
from medpref.study.answers import ModelAnswers

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone


def ask(
    backbone: "LlavaBackbone", pairs: list[Pair], seed: int = 0, role: ImageRole = ImageRole.CLEAN
) -> dict[str, str]:
    model = ModelAnswers(backbone, InputCache(backbone), batch=4)
    answers = model.answer(pairs, role, temperature=1.0, max_new_tokens=4, seed=seed)
    return dict(zip([pair.id for pair in pairs], answers, strict=True))


def test_answers_depend_on_seed_and_image_but_not_on_the_order(
    backbone: "LlavaBackbone", pairs: list[Pair]
) -> None:
    first = ask(backbone, pairs)
    assert ask(backbone, pairs[::-1]) == first
    assert ask(backbone, pairs, seed=1) != first
    assert ask(backbone, pairs, role=ImageRole.REJECTED) != first


def test_asking_puts_the_model_into_evaluation_mode(backbone: "LlavaBackbone", pairs: list[Pair]) -> None:
    backbone.model.train()
    ask(backbone, pairs)
    assert not backbone.model.training


def test_pairs_without_images_are_asked_too(backbone: "LlavaBackbone", make_pair) -> None:
    assert set(ask(backbone, [make_pair("text")])) == {"text"}


@pytest.mark.parametrize(
    ("chosen", "answer", "right"),
    [
        ("Yes", "yes, there is one.", True),
        ("Yes", "No.", False),
        ("left", "Left.", True),
        ("left", "the left", True),
        ("left", "right", False),
        ("two", "2", True),
        ("two", "", False),
    ],
)
def test_right_and_wrong(backbone: "LlavaBackbone", make_pair, chosen: str, answer: str, right: bool) -> None:
    model = ModelAnswers(backbone, InputCache(backbone), batch=4)
    assert model.is_right(make_pair("p", chosen=chosen), answer) is right
