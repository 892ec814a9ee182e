"""Plain transformers makes the ids and pixels of medpref from a converted folder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conversion.checkpoints import KINDS, PATCH, SIDE, original_checkpoint
from transformers import AutoProcessor, GenerationConfig

from medpref.backbones import load_backbone
from medpref.backbones.plain import chat_template
from medpref.backbones.templates import templates
from medpref.conversion import convert_checkpoint
from medpref.pairs.pair import Turn

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
SHOWN = {"type": "image"}
LOBE, WHERE, AND = "Yes, in the upper lobe.", "Where is the lesion?", "And the left lung?"


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def user(*content: dict[str, str] | str) -> dict[str, object]:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def said(words: str) -> dict[str, object]:
    return {"role": "assistant", "content": [text(words)]}


# Conversation of plain transformers; the same as prompt and history of medpref; the images that it shows.
CONVERSATIONS = {
    "one turn": ([user(SHOWN, text(WHERE))], f"<image>\n{WHERE}", (), 1),
    "a plain text": ([user(f"<image>\n{WHERE}")], f"<image>\n{WHERE}", (), 1),
    "no image": ([user(text(WHERE))], WHERE, (), 0),
    "two images": ([user(SHOWN, SHOWN, text(WHERE))], f"<image>\n<image>\n{WHERE}", (), 2),
    "an image behind the text": ([user(text(WHERE), SHOWN)], f"{WHERE}<image>\n", (), 1),
    "two turns": (
        [user(SHOWN, text(WHERE)), said(LOBE), user(text(AND))],
        AND,
        (Turn(f"<image>\n{WHERE}", LOBE),),
        1,
    ),
    "three turns with images": (
        [user(text(WHERE)), said(LOBE), user(SHOWN, text(AND)), said("No."), user(SHOWN, text(WHERE))],
        f"<image>\n{WHERE}",
        (Turn(WHERE, LOBE), Turn(f"<image>\n{AND}", "No.")),
        2,
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    original_checkpoint(folder / "original", request.param)
    convert_checkpoint(folder / "original", folder / "plain")
    load_backbone(folder / "plain").save(folder / "saved")
    return folder


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("place", ["plain", "saved"])
def test_the_chat_template_makes_our_ids(plain: Path, place: str, name: str) -> None:
    messages, prompt, history, shown = CONVERSATIONS[name]
    processor, backbone = AutoProcessor.from_pretrained(plain / place), load_backbone(plain / place)
    rendered = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    picture = Image.new("RGB", (40, 30), (9, 99, 199))
    inputs = processor(
        text=rendered, images=[picture] * shown or None, add_special_tokens=False, return_tensors="pt"
    )
    assert inputs["input_ids"][0].tolist() == backbone.prompt_ids(prompt, history=history)
    assert (inputs["input_ids"] == backbone.image_token).sum() == shown * SIDE**2
    if shown:
        assert torch.equal(inputs["pixel_values"][0], backbone.read_image(picture)["pixel_values"])


def test_an_answer_behind_the_prompt_is_our_response(plain: Path) -> None:
    processor, backbone = AutoProcessor.from_pretrained(plain / "plain"), load_backbone(plain / "plain")
    asked = [user(text(WHERE))]
    ids = processor.apply_chat_template([*asked, said(LOBE)], tokenize=True, return_dict=True)["input_ids"]
    row = ids[0] if isinstance(ids[0], list) else ids
    assert list(row) == backbone.prompt_ids(WHERE) + backbone.response_ids(LOBE)


def test_the_rendered_text_is_the_authors() -> None:
    import jinja2

    def render(name: str) -> str:
        # As the library sets its renderer up.
        environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
        template = environment.from_string(chat_template(templates[name]))
        messages = [user(SHOWN, text("A?")), said("B."), user(text("C?"))]
        return template.render(messages=messages, bos_token="<s>", eos_token="<e>")

    assert render("mistral-instruct") == "<s>[INST] <image>\nA? [/INST] B. <e>[INST] C? [/INST]"
    assert render("huatuo") == "<|user|>\n<image>\nA?\n<|assistant|>\nB. \n<|user|>\nC?\n<|assistant|>\n"


def test_a_role_that_the_model_does_not_know_is_refused(plain: Path) -> None:
    processor = AutoProcessor.from_pretrained(plain / "plain")
    with pytest.raises(Exception, match="no role system"):
        processor.apply_chat_template([{"role": "system", "content": "Be brief."}], tokenize=False)


def test_the_image_token_is_never_generated(plain: Path) -> None:
    backbone = load_backbone(plain / "plain")
    settings = GenerationConfig.from_pretrained(plain / "plain")
    assert settings.suppress_tokens == [backbone.image_token]
    assert settings.eos_token_id == backbone.tokenizer.eos_token_id


@pytest.mark.parametrize(
    ("size", "mode"),
    [
        ((90, 31), "RGB"),
        ((17, 64), "RGB"),
        ((48, 48), "RGB"),
        ((33, 70), "L"),
        ((3, 2), "RGB"),
        ((1, 1), "RGB"),
    ],
)
def test_pixels_are_padded_resized_and_normalised_as_clip_does(
    plain: Path, size: tuple[int, int], mode: str
) -> None:
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    noise = np.random.default_rng(sum(size)).integers(0, 256, shape, dtype=np.uint8)
    picture = Image.fromarray(noise, mode=mode)
    found = load_backbone(plain / "plain").read_image(picture)["pixel_values"]
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.from_numpy(clip_pixels(picture, PATCH * SIDE)))


def clip_pixels(picture: Image.Image, side: int) -> np.ndarray:
    """Return pixels (3, side, side) as LLaVA's ``expand2square`` and CLIP's preprocessing make them."""
    picture = picture.convert("RGB")
    longest = max(picture.size)
    square = Image.new("RGB", (longest, longest), tuple(int(value * 255) for value in MEAN))
    square.paste(picture, ((longest - picture.width) // 2, (longest - picture.height) // 2))
    small = np.asarray(square.resize((side, side), Image.Resampling.BICUBIC))
    scaled = (small.astype(np.float64) * (1 / 255)).astype(np.float32)
    normal = (scaled - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    return normal.transpose(2, 0, 1)
