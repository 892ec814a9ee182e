from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
import torch

from medpref.backbones.base import ImageTensors
from medpref.backbones.sampling import Sampling
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


GREEDY = Sampling(max_new_tokens=TOKENS)
DRAWN = Sampling(max_new_tokens=TOKENS, temperature=1.0)


@pytest.fixture
def images() -> list[ImageTensors]:
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return [{"pixel_values": each} for each in pixels]


def ask(
    backbone: "LlavaBackbone",
    images: list[ImageTensors],
    numbers: Sequence[int] = range(len(PROMPTS)),
    sampling: Sampling = GREEDY,
    seeds: Sequence[int] | None = None,
) -> list[str]:
    prompts = [backbone.prompt_ids(PROMPTS[number]) for number in numbers]
    shown = [[images[image] for image in IMAGES[number]] for number in numbers]
    return backbone.generate(prompts, shown, sampling, seeds)


@torch.no_grad()
def greedy(backbone: "LlavaBackbone", number: int, images: list[ImageTensors]) -> list[int]:
    """Take the likeliest token again and again, through what the scorer calls."""
    ids = backbone.prompt_ids(PROMPTS[number])
    made: list[int] = []
    features = backbone.project(backbone.encode_images(images))
    while len(made) < TOKENS and backbone.tokenizer.eos_token_id not in made:
        path = Path(IMAGES[number], tuple(ids + made), (0,))
        rows = make_plan([path], image_token=backbone.image_token, pad=backbone.pad_token).rows
        made.append(int(backbone.logits(backbone.read_states(rows, features)[0]).argmax()))
    return made


def text(backbone: "LlavaBackbone", ids: list[int]) -> str:
    return backbone.tokenizer.decode(ids, skip_special_tokens=True).strip()


@pytest.mark.parametrize("number", range(len(PROMPTS)))
def test_generation_is_greedy_through_the_scorers_forward(
    backbone: "LlavaBackbone", images: list[ImageTensors], number: int
) -> None:
    expected = text(backbone, greedy(backbone, number, images))
    assert ask(backbone, images, [number]) == [expected]


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
def test_generation_in_a_batch_is_generation_alone(
    backbone: "LlavaBackbone", images: list[ImageTensors], sampling: Sampling
) -> None:
    seeds = [11, 12, 13, 14]
    together = ask(backbone, images, sampling=sampling, seeds=seeds)
    alone = [ask(backbone, images, [n], sampling, [seed])[0] for n, seed in enumerate(seeds)]
    assert together == alone
    assert len(set(together)) > 1
    backwards = ask(backbone, images, [3, 2, 1, 0], sampling, seeds[::-1])
    assert backwards == together[::-1]


def test_generation_stops_at_the_end_token(backbone: "LlavaBackbone", images: list[ImageTensors]) -> None:
    made = greedy(backbone, 0, images)
    third = next(n for n in range(1, TOKENS) if made[n] not in made[:n])
    head, eos = backbone.model.lm_head.weight, backbone.tokenizer.eos_token_id
    with torch.no_grad():
        # The two tokens change places at the output: where the one stood, the model now ends.
        head[[made[third], eos]] = head[[eos, made[third]]]
    assert ask(backbone, images, [0]) == [text(backbone, made[:third])]


def test_the_image_token_is_never_said(backbone: "LlavaBackbone", images: list[ImageTensors]) -> None:
    first = greedy(backbone, 0, images)[0]
    with torch.no_grad():
        backbone.model.lm_head.weight[backbone.image_token] = 2 * backbone.model.lm_head.weight[first]
    assert ask(backbone, images, [0]) == [text(backbone, greedy(backbone, 0, images))]


def test_a_limit_of_one_token(backbone: "LlavaBackbone", images: list[ImageTensors]) -> None:
    expected = text(backbone, greedy(backbone, 0, images)[:1])
    assert ask(backbone, images, [0], Sampling(max_new_tokens=1)) == [expected]


def test_sampling_depends_on_the_seed_alone(backbone: "LlavaBackbone", images: list[ImageTensors]) -> None:
    first = ask(backbone, images, sampling=DRAWN, seeds=[1, 2, 3, 4])
    state = torch.get_rng_state()
    torch.rand(3)
    moved = torch.get_rng_state()
    assert ask(backbone, images, sampling=DRAWN, seeds=[1, 2, 3, 4]) == first
    assert torch.equal(torch.get_rng_state(), moved), "what others draw has changed"
    assert not torch.equal(state, moved)
    assert ask(backbone, images, sampling=DRAWN, seeds=[5, 6, 7, 8]) != first


def test_sampling_at_a_low_temperature_is_greedy(
    backbone: "LlavaBackbone", images: list[ImageTensors]
) -> None:
    cold = ask(backbone, images, sampling=Sampling(max_new_tokens=TOKENS, temperature=1e-6))
    assert cold == ask(backbone, images)


def test_samples_come_from_the_whole_vocabulary(
    backbone: "LlavaBackbone", images: list[ImageTensors]
) -> None:
    # Hot, all tokens are about equally likely; the library's default keeps the fifty likeliest.
    hot = Sampling(max_new_tokens=1, temperature=50)
    assert len(set(ask(backbone, images, [0] * 600, hot, range(600)))) > 80


def test_a_folder_s_generation_settings_have_no_say(
    backbone: "LlavaBackbone", images: list[ImageTensors]
) -> None:
    expected = ask(backbone, images)
    own = backbone.model.generation_config
    own.update(do_sample=True, temperature=5.0, repetition_penalty=3.0, max_length=1)
    assert ask(backbone, images) == expected
    assert backbone.model.generation_config is own


ON_ONE_IMAGE = [
    "<image>\nWhere?",
    "<image>\nIs there a lesion in the left lung?",
    "<image>\nWhich side is it?",
]


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
def test_questions_on_one_image_are_answered_as_if_alone(
    backbone: "LlavaBackbone", images: list[ImageTensors], sampling: Sampling
) -> None:
    shown = [[images[0]], [images[0]], [images[1]], [images[0]]]
    prompts = [backbone.prompt_ids(text) for text in (*ON_ONE_IMAGE, ON_ONE_IMAGE[0])]
    seeds = [1, 2, 3, 4]
    together = backbone.generate(prompts, shown, sampling, seeds)
    alone = [
        backbone.generate([prompt], [image], sampling, [seed])[0]
        for prompt, image, seed in zip(prompts, shown, seeds, strict=True)
    ]
    assert together == alone
    assert len(set(together)) > 1


def test_what_rows_share_is_read_once(
    backbone: "LlavaBackbone", images: list[ImageTensors], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [backbone.prompt_ids(text) for text in ON_ONE_IMAGE]
    read: list[int] = []
    tower = backbone.model.model.vision_tower
    hook = tower.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(len(kwargs.get("pixel_values", args[0] if args else ()))),
        with_kwargs=True,
    )
    try:
        backbone.generate(prompts, [[images[0]], [images[1]], [images[0]]], GREEDY)
    finally:
        hook.remove()
    assert read == [2]


def test_logits_do_not_depend_on_what_is_shared(
    backbone: "LlavaBackbone", images: list[ImageTensors]
) -> None:
    prompts = [backbone.prompt_ids(text) for text in ON_ONE_IMAGE]
    batch = backbone.prepare(prompts, [[images[0]]] * 3)
    shared = backbone.model(
        input_ids=batch.tokens[:, batch.inputs["past_key_values"].get_seq_length() :],
        attention_mask=batch.mask,
        position_ids=(batch.mask.cumsum(-1) - 1).clamp(min=0)[
            :, batch.inputs["past_key_values"].get_seq_length() :
        ],
        past_key_values=batch.inputs["past_key_values"],
    ).logits[:, -1]
    for number, prompt in enumerate(prompts):
        alone = backbone.prepare([prompt], [[images[0]]])
        assert "past_key_values" not in alone.inputs
        logits = backbone.model(input_ids=alone.tokens, attention_mask=alone.mask, **alone.inputs).logits
        torch.testing.assert_close(shared[number], logits[0, -1], atol=1e-5, rtol=1e-5)
