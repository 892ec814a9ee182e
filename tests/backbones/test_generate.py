from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from medpref.scoring.plan import Path, make_plan

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone

PROMPTS = [
    "<image>\nWhere?",
    "<image>\nIs there a lesion in the left lung, and if so, where is it?",
    "Is pneumonia an infection?",
    "<image>\n<image>\nWhich one is clear?",
]
IMAGES = [(0,), (1,), (), (2, 0)]
TOKENS = 6


@pytest.fixture
def pixels() -> Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def greedy(backbone: "LlavaBackbone", prompt: str, pixels: Tensor, images: tuple[int, ...]) -> list[int]:
    """Take the likeliest token again and again, through what the scorer calls."""
    ids = backbone.prompt_ids(prompt)
    made: list[int] = []
    features = backbone.project(backbone.encode_images(pixels))
    while len(made) < TOKENS and backbone.tokenizer.eos_token_id not in made:
        path = Path(images, tuple(ids + made), (0,))
        rows = make_plan([path], image_token=backbone.image_token, pad=backbone.pad_token).rows
        made.append(int(backbone.logits(backbone.read_states(rows, features)[0]).argmax()))
    return made


def text(backbone: "LlavaBackbone", ids: list[int]) -> str:
    return backbone.tokenizer.decode(ids, skip_special_tokens=True).strip()


@pytest.mark.parametrize("number", range(len(PROMPTS)))
def test_generation_is_greedy_through_the_scorers_forward(
    backbone: "LlavaBackbone", pixels: Tensor, number: int
) -> None:
    expected = text(backbone, greedy(backbone, PROMPTS[number], pixels, IMAGES[number]))
    (answer,) = backbone.generate([PROMPTS[number]], pixels, [IMAGES[number]], max_new_tokens=TOKENS)
    assert answer == expected


def test_generation_in_a_batch_is_generation_alone(backbone: "LlavaBackbone", pixels: Tensor) -> None:
    together = backbone.generate(PROMPTS, pixels, IMAGES, max_new_tokens=TOKENS)
    alone = [
        backbone.generate([prompt], pixels, [images], max_new_tokens=TOKENS)[0]
        for prompt, images in zip(PROMPTS, IMAGES, strict=True)
    ]
    assert together == alone
    assert len(set(together)) > 1


def test_text_only_needs_no_pixels(backbone: "LlavaBackbone", pixels: Tensor) -> None:
    prompts = [PROMPTS[2]]
    assert backbone.generate(prompts, None, [()], max_new_tokens=TOKENS) == backbone.generate(
        prompts, pixels, [()], max_new_tokens=TOKENS
    )


def test_generation_stops_at_the_end_token(backbone: "LlavaBackbone", pixels: Tensor) -> None:
    made = greedy(backbone, PROMPTS[0], pixels, IMAGES[0])
    third = next(n for n in range(1, TOKENS) if made[n] not in made[:n])
    head, eos = backbone.model.lm_head.weight, backbone.tokenizer.eos_token_id
    with torch.no_grad():
        # The two tokens change places at the output: where the one stood, the model now ends.
        head[[made[third], eos]] = head[[eos, made[third]]]
    (answer,) = backbone.generate([PROMPTS[0]], pixels, [IMAGES[0]], max_new_tokens=TOKENS)
    assert answer == text(backbone, made[:third])


def test_the_image_token_is_never_said(backbone: "LlavaBackbone", pixels: Tensor) -> None:
    first = greedy(backbone, PROMPTS[0], pixels, IMAGES[0])[0]
    with torch.no_grad():
        backbone.model.lm_head.weight[backbone.image_token] = 2 * backbone.model.lm_head.weight[first]
    (answer,) = backbone.generate([PROMPTS[0]], pixels, [IMAGES[0]], max_new_tokens=TOKENS)
    assert answer == text(backbone, greedy(backbone, PROMPTS[0], pixels, IMAGES[0]))


def test_a_limit_of_one_token(backbone: "LlavaBackbone", pixels: Tensor) -> None:
    (answer,) = backbone.generate([PROMPTS[0]], pixels, [IMAGES[0]], max_new_tokens=1)
    assert answer == text(backbone, greedy(backbone, PROMPTS[0], pixels, IMAGES[0])[:1])


def test_sampling_depends_on_the_seed_alone(backbone: "LlavaBackbone", pixels: Tensor) -> None:
    def sample(seed: int) -> list[str]:
        return backbone.generate(PROMPTS, pixels, IMAGES, max_new_tokens=TOKENS, temperature=1.0, seed=seed)

    first = sample(1)
    state = torch.get_rng_state()
    torch.rand(3)
    moved = torch.get_rng_state()
    assert sample(1) == first
    assert torch.equal(torch.get_rng_state(), moved), "what others draw has changed"
    assert not torch.equal(state, moved)
    assert sample(2) != first


def test_sampling_at_a_low_temperature_is_greedy(backbone: "LlavaBackbone", pixels: Tensor) -> None:
    cold = backbone.generate(PROMPTS, pixels, IMAGES, max_new_tokens=TOKENS, temperature=1e-6)
    assert cold == backbone.generate(PROMPTS, pixels, IMAGES, max_new_tokens=TOKENS)


def test_samples_come_from_the_whole_vocabulary(backbone: "LlavaBackbone", pixels: Tensor) -> None:
    # Hot, all tokens are about equally likely; the library's default keeps the fifty likeliest.
    said = backbone.generate([PROMPTS[0]] * 600, pixels, [IMAGES[0]] * 600, max_new_tokens=1, temperature=50)
    assert len(set(said)) > 80
