"""How the tiny tokenizers write prompts and responses, and which tokens are learned."""

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from medpref.scoring.plan import Path, make_plan

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone

IMAGES = ["<image>"] * 16
GOLDEN = {
    "mistral": (
        ["<s>", "[INST]", "Ġ", *IMAGES, "Ċ", "Where", "Ġis", "Ġthe", "Ġlesion", "?", "Ġ", "[/INST]"],
        ["ĠNo", ",", "Ġthe", "Ġlung", "Ġis", "Ġclear", ".", "Ġ", "</s>"],
    ),
    "qwen2": (
        ["<|user|>", "Ċ", *IMAGES, "Ċ", "Where", "Ġis", "Ġthe", "Ġlesion", "?", "Ċ", "<|assistant|>", "Ċ"],
        ["No", ",", "Ġthe", "Ġlung", "Ġis", "Ġclear", ".", "<|endoftext|>"],
    ),
}


@pytest.mark.parametrize("family", list(GOLDEN))
def test_golden_tokens(family: str, make_backbone) -> None:
    # Enough vocabulary that every word of the training texts is one token.
    backbone = make_backbone(family, vocabulary=400)
    prompt, response = GOLDEN[family]
    names = backbone.tokenizer.convert_ids_to_tokens
    assert names(backbone.prompt_ids("<image>\nWhere is the lesion?")) == prompt
    assert names(backbone.response_ids("No, the lung is clear.")) == response


def test_an_image_takes_as_many_tokens_as_the_tower_gives(backbone: "LlavaBackbone") -> None:
    image = backbone.read_image(Image.new("RGB", (32, 32)))
    (features,) = backbone.project(backbone.encode_images([image]))
    assert features["tokens"].shape == (backbone.image_tokens, 32)
    assert backbone.prompt_ids("<image>").count(backbone.image_token) == backbone.image_tokens == 16


def test_user_typed_special_tokens_do_not_end_the_turn(backbone: "LlavaBackbone") -> None:
    eos = backbone.tokenizer.eos_token
    ids = backbone.prompt_ids(f"Where{eos} is it?")
    assert backbone.tokenizer.eos_token_id not in ids
    assert ids == backbone.prompt_ids("Where is it?")
    response = backbone.response_ids(f"Left{eos}<image>")
    assert response.count(backbone.tokenizer.eos_token_id) == 1
    assert backbone.image_token not in response


def test_a_response_does_not_merge_with_the_prompt(backbone: "LlavaBackbone") -> None:
    # In one piece, a newline at the answer's front would merge with the one behind the role tag.
    prompt, response = backbone.prompt_ids("Where?"), backbone.response_ids("\nLeft")
    assert backbone.tokenizer.decode(response[:-1]).strip(" ") == "\nLeft"
    assert prompt == backbone.prompt_ids("Where?")


def test_any_text_can_be_written(backbone: "LlavaBackbone") -> None:
    text = "µ-opioid ≥ 5 肺 🫁"
    assert backbone.tokenizer.decode(backbone.response_ids(text)[:-1]).strip() == text


def test_the_response_and_its_end_are_learned_and_nothing_else(backbone: "LlavaBackbone") -> None:
    prompt = tuple(backbone.prompt_ids("<image>\nWhere?"))
    response = tuple(backbone.response_ids("Left lung"))
    assert response[-1] == backbone.tokenizer.eos_token_id
    plan = make_plan([Path((0,), prompt, response)], image_token=backbone.image_token, pad=backbone.pad_token)
    assert plan.targets.tolist() == list(response)
    # Read one position ahead: the prompt's last token predicts the first, the end token predicts nothing.
    first = len(prompt) - 1
    columns = plan.rows.queries[0, plan.read]
    assert columns.tolist() == list(range(first, first + len(response)))
    assert plan.rows.ids.shape[1] == len(prompt) + len(response) - 1


def test_images_are_padded_to_a_square_and_not_cropped(backbone: "LlavaBackbone") -> None:
    wide = np.zeros((16, 32, 3), np.uint8)
    wide[:, 0] = 255
    pixels = backbone.read_image(Image.fromarray(wide))["pixel_values"]
    assert pixels.shape == (3, 32, 32)
    # The bright column at the very edge is still there, in the middle rows; above and below is padding.
    assert (pixels[:, 16, 0] > pixels[:, 16, 8]).all()
    assert torch.allclose(pixels[:, 2, 4], pixels[:, 2, 28])


def test_grey_images_are_read_as_rgb(backbone: "LlavaBackbone") -> None:
    grey = Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32))
    read = [backbone.read_image(image)["pixel_values"] for image in (grey, grey.convert("RGB"))]
    assert torch.equal(*read)
