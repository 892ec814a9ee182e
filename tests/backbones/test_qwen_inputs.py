"""Token ids and image sizes of the Qwen-VL families against the library's processor."""

import re
from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.backbones.tiny_qwen import FAMILIES, build_tiny_qwen, library_inputs
from transformers import Qwen2VLImageProcessorPil

from medpref.backbones.base import Size
from medpref.backbones.qwen_vl import IMAGE_PAD, QwenVLBackbone
from medpref.errors import InputError
from medpref.pairs.pair import Turn

KINDS = list(FAMILIES)
PUBLISHED = {
    "Qwen2-VL": Qwen2VLImageProcessorPil(min_pixels=3136, max_pixels=12845056),
    "Qwen3-VL": Qwen2VLImageProcessorPil(
        size={"shortest_edge": 65536, "longest_edge": 16777216}, patch_size=16, merge_size=2
    ),
    "narrow": Qwen2VLImageProcessorPil(size={"shortest_edge": 784, "longest_edge": 50176}),
}


@pytest.fixture(scope="module", params=KINDS)
def qwen(request) -> QwenVLBackbone:
    return build_tiny_qwen(request.param)


def pictures(*sizes: Size) -> list[Image.Image]:
    return [Image.new("RGB", size) for size in sizes]


SMALL, WIDE, TALL = (32, 32), (44, 20), (8, 120)
CONVERSATIONS = {
    "one image": ([], "<image>\nWhere is the lesion?", [WIDE]),
    "text only": ([], "Is pneumonia an infection?", []),
    "images apart": ([], "Is <image> like <image>\n, or clearer?", [WIDE, TALL]),
    "images in a row": ([], "<image>\n<image>\n<image>\nWhich one is clear?", [SMALL, WIDE, TALL]),
    "an image at the end": ([], "Describe the image. <image>", [TALL]),
    "several turns": (
        [Turn("<image>\nDescribe it.", "Yes, in the upper lobe."), Turn("Why?", "No, the lung is clear.")],
        "And <image> here?",
        [TALL, SMALL],
    ),
    "letters of all kinds": ([], "<image>\nÉcho – 心臓 \u00e9 e\u0301 🫀\n\n  done ", [SMALL]),
}


@pytest.mark.parametrize("name", list(CONVERSATIONS))
def test_prompts_are_the_processor_s(qwen: QwenVLBackbone, name: str) -> None:
    history, prompt, sizes = CONVERSATIONS[name]
    said = [part for turn in history for part in (("user", turn.user), ("assistant", turn.assistant))]
    # The newline behind an image is a matter of our files, not of the conversation.
    turns = [(role, re.sub("<image>\n", "<image>", text)) for role, text in [*said, ("user", prompt)]]
    expected = library_inputs(qwen, turns, pictures(*sizes))
    ids = qwen.prompt_ids(prompt, sizes, history)
    assert ids == expected["input_ids"][0].tolist()
    assert ids.count(qwen.image_token) == int(expected["mm_token_type_ids"].sum())


def test_special_tokens_that_a_user_typed_are_left_out(qwen: QwenVLBackbone) -> None:
    typed = "<image>\nWhere<|im_end|> is <|image_pad|>it<|vision_<|im_start|>start|>?"
    assert qwen.prompt_ids(typed, [SMALL]) == qwen.prompt_ids("<image>\nWhere is it?", [SMALL])
    assert qwen.response_ids("Here<|im_end|>.<image>") == qwen.response_ids("Here.")
    history = [Turn("Where<|im_start|>?", "There<|image_pad|>.")]
    assert qwen.prompt_ids("Why?", (), history) == qwen.prompt_ids("Why?", (), [Turn("Where?", "There.")])


def test_a_response_ends_its_turn(qwen: QwenVLBackbone) -> None:
    ids = qwen.response_ids("Yes, in the upper lobe.")
    assert qwen.tokenizer.decode(ids) == "Yes, in the upper lobe.<|im_end|>"
    assert ids[-1] in qwen.stop_tokens
    assert qwen.tokenizer.convert_tokens_to_ids("<|endoftext|>") in qwen.stop_tokens


@pytest.mark.parametrize("sizes", [[], [SMALL, WIDE]])
def test_a_size_for_each_image(qwen: QwenVLBackbone, sizes: list[Size]) -> None:
    with pytest.raises(InputError, match=f"1 images where the prompt has {len(sizes)}"):
        qwen.prompt_ids("<image>\nWhere?", sizes)


@given(st.integers(1, 400), st.integers(1, 400))
def test_tokens_of_a_size_are_those_of_its_image(width: int, height: int) -> None:
    qwen = tiny(width % 3)
    if max(width, height) / min(width, height) > 200:
        for read in (lambda: qwen.image_tokens((width, height)), lambda: read_one(qwen, width, height)):
            with pytest.raises(InputError, match=f"{width} × {height} pixels cannot be resized"):
                read()
        return
    image = read_one(qwen, width, height)
    patches = int(image["image_grid_thw"].prod())
    assert image["pixel_values"].shape[0] == patches
    assert qwen.image_tokens((width, height)) == patches // 4
    assert qwen.prompt_ids("<image>", [(width, height)]).count(qwen.image_token) == patches // 4


def read_one(qwen: QwenVLBackbone, width: int, height: int):
    return qwen.read_image(Image.new("L", (width, height)))


@cache
def tiny(number: int) -> QwenVLBackbone:
    return build_tiny_qwen(KINDS[number])


@pytest.mark.parametrize("name", list(PUBLISHED))
@given(size=st.tuples(st.integers(28, 900), st.integers(28, 900)))
def test_tokens_at_published_limits(name: str, size: Size) -> None:
    qwen = build_without_processor(name)
    read = qwen.read_image(Image.new("RGB", size))
    assert qwen.image_tokens(size) == int(read["image_grid_thw"].prod()) // 4


def build_without_processor(name: str) -> QwenVLBackbone:
    first = tiny(0)
    return type(first)(first.model, first.tokenizer, PUBLISHED[name], 512)


def test_an_image_is_read_in_colour_and_normalised(qwen: QwenVLBackbone) -> None:
    mean = tuple(round(255 * value) for value in qwen.processor.image_mean)
    read = qwen.read_image(Image.new("RGB", SMALL, mean))
    assert read["pixel_values"].dtype == torch.float32
    assert read["pixel_values"].shape == (64, 3 * 2 * 4 * 4)
    assert read["image_grid_thw"].tolist() == [1, 8, 8]
    assert read["pixel_values"].abs().max() < 0.01


def test_the_image_token_is_the_template_s(qwen: QwenVLBackbone) -> None:
    assert qwen.tokenizer.convert_tokens_to_ids(IMAGE_PAD) == qwen.image_token
    assert qwen.sizes_matter
