"""Answers of the Qwen-VL families: the scorer's forward pass, one token at a time."""

import pytest
import torch
from PIL import Image
from tests.backbones.tiny_qwen import FAMILIES, build_tiny_qwen

from medpref.backbones.base import ImageTensors
from medpref.backbones.qwen_vl import QwenVLBackbone
from medpref.backbones.sampling import Sampling
from medpref.pairs.pair import Turn
from medpref.scoring.plan import Path, make_plan

SIZES = [(32, 32), (44, 20), (8, 120)]
# A prompt, its images, its history.
ASKED = [
    ("<image>\nWhere?", (0,), ()),
    ("<image>\nIs there a lesion in the left lung, and if so, where is it?", (2,), ()),
    ("Is pneumonia an infection?", (), ()),
    ("Like <image>\n?", (1, 2), (Turn("<image>\nDescribe the image.", "No, the lung is clear."),)),
]
TOKENS = Sampling(max_new_tokens=6)


@pytest.fixture(params=list(FAMILIES))
def qwen(request) -> QwenVLBackbone:
    return build_tiny_qwen(request.param)


@pytest.fixture
def images(qwen: QwenVLBackbone) -> list[ImageTensors]:
    generator = torch.Generator().manual_seed(0)
    read = [qwen.read_image(Image.new("RGB", size)) for size in SIZES]
    return [
        {**each, "pixel_values": torch.randn(each["pixel_values"].shape, generator=generator)}
        for each in read
    ]


def prompts(qwen: QwenVLBackbone) -> list[list[int]]:
    return [qwen.prompt_ids(text, [SIZES[n] for n in shown], history) for text, shown, history in ASKED]


def shown(images: list[ImageTensors]) -> list[list[ImageTensors]]:
    return [[images[number] for number in numbers] for _, numbers, _ in ASKED]


@torch.no_grad()
def greedy(qwen: QwenVLBackbone, prompt: list[int], images: list[ImageTensors]) -> list[int]:
    """Take the likeliest token again and again, through what the scorer calls."""
    features = qwen.project(qwen.encode_images(images))
    made: list[int] = []
    while len(made) < TOKENS.max_new_tokens and not set(qwen.stop_tokens) & set(made):
        path = Path(tuple(range(len(images))), tuple(prompt + made), (0,))
        rows = make_plan([path], image_token=qwen.image_token, pad=qwen.pad_token).rows
        made.append(int(qwen.logits(qwen.read_states(rows, features)[0]).argmax()))
    return made


def text(qwen: QwenVLBackbone, ids: list[int]) -> str:
    return qwen.tokenizer.decode(ids, skip_special_tokens=True).strip()


def test_answers_are_greedy_through_the_scorer_s_forward(qwen: QwenVLBackbone, images) -> None:
    for prompt, seen in zip(prompts(qwen), shown(images), strict=True):
        assert qwen.generate([prompt], [seen], TOKENS) == [text(qwen, greedy(qwen, prompt, seen))]


def test_answers_in_a_batch_are_answers_alone(qwen: QwenVLBackbone, images) -> None:
    together = qwen.generate(prompts(qwen), shown(images), TOKENS)
    assert len(set(together)) > 2
    for prompt, seen, answer in zip(prompts(qwen), shown(images), together, strict=True):
        assert qwen.generate([prompt], [seen], TOKENS) == [answer]


def test_scoring_after_answering_is_as_before(qwen: QwenVLBackbone, images) -> None:
    # The library keeps the positions of its last call in the model.
    before = greedy(qwen, prompts(qwen)[3], shown(images)[3])
    qwen.generate(prompts(qwen)[:2], shown(images)[:2], TOKENS)
    assert greedy(qwen, prompts(qwen)[3], shown(images)[3]) == before
    qwen.generate(prompts(qwen)[2:3], [[]], TOKENS)
    assert greedy(qwen, prompts(qwen)[3], shown(images)[3]) == before


def test_an_answer_stops_at_either_end_token(qwen: QwenVLBackbone, images) -> None:
    prompt, seen = prompts(qwen)[0], shown(images)[0]
    made = greedy(qwen, prompt, seen)
    second = next(number for number in range(1, len(made)) if made[number] not in made[:number])
    head = qwen.model.lm_head.weight
    assert len(qwen.stop_tokens) == 2
    for stop in qwen.stop_tokens:
        with torch.no_grad():
            head[[made[second], stop]] = head[[stop, made[second]]]
        assert qwen.generate([prompt], [seen], TOKENS) == [text(qwen, made[:second])]
        with torch.no_grad():
            head[[made[second], stop]] = head[[stop, made[second]]]


def test_sampled_answers_depend_on_their_seeds_alone(qwen: QwenVLBackbone, images) -> None:
    hot = Sampling(max_new_tokens=6, temperature=1.0)
    together = qwen.generate(prompts(qwen), shown(images), hot, seeds=[1, 2, 3, 4])
    alone = qwen.generate(prompts(qwen)[1:2], shown(images)[1:2], hot, seeds=[2])
    assert together[1:2] == alone
    assert qwen.generate(prompts(qwen), shown(images), hot, seeds=[5, 6, 7, 8]) != together


def test_the_image_token_is_never_said(qwen: QwenVLBackbone, images) -> None:
    prompt, seen = prompts(qwen)[0], shown(images)[0]
    first = greedy(qwen, prompt, seen)[0]
    with torch.no_grad():
        qwen.model.lm_head.weight[qwen.image_token] = 2 * qwen.model.lm_head.weight[first]
    assert qwen.generate([prompt], [seen], TOKENS) == [text(qwen, greedy(qwen, prompt, seen))]
