from collections.abc import Sequence

import pytest

from medpref.backbones.templates import Template, fit, strip_reserved, templates
from medpref.errors import InputError

IMAGE, BOS, EOS = 900, 901, 902


class Letters:
    """Encodes each character as its code point, and remembers the chunks."""

    def __init__(self) -> None:
        self.chunks: list[str] = []

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        self.chunks.append(text)
        return [ord(letter) for letter in text]


def prompt(name: str, text: str, image_tokens: int = 2, reserved: Sequence[str] = ()) -> list[int | str]:
    ids = templates[name].prompt_ids(
        Letters(), text, bos=BOS, image=IMAGE, image_tokens=image_tokens, reserved=reserved
    )
    return [*joined(ids)]


def joined(ids: list[int]) -> list[int | str]:
    """Join letters to texts and leave special ids as they are."""
    parts: list[int | str] = []
    for number in ids:
        if number >= 900:
            parts.append(number)
        elif parts and isinstance(parts[-1], str):
            parts[-1] += chr(number)
        else:
            parts.append(chr(number))
    return parts


def response(name: str, text: str, reserved: Sequence[str] = ()) -> list[int | str]:
    return joined(templates[name].response_ids(Letters(), text, eos=EOS, reserved=reserved))


def test_mistral_prompt() -> None:
    # <s>[INST] <image>\n{q} [/INST]
    assert prompt("mistral-instruct", "<image>\nWhere?") == [BOS, "[INST] ", IMAGE, IMAGE, "\nWhere? [/INST]"]


def test_mistral_response() -> None:
    assert response("mistral-instruct", "Left.") == [" Left. ", EOS]


def test_huatuo_prompt_with_two_images() -> None:
    # <|user|>\n + <image>\n × n + {q}\n<|assistant|>\n, without a begin token
    assert prompt("huatuo", "<image>\n<image>\nWhich?", 1) == [
        "<|user|>\n",
        IMAGE,
        "\n",
        IMAGE,
        "\nWhich?\n<|assistant|>\n",
    ]


def test_huatuo_response() -> None:
    assert response("huatuo", "Left.") == ["Left.", EOS]


def test_no_begin_token_where_the_tokenizer_has_none() -> None:
    ids = Template("", "").prompt_ids(Letters(), "a", bos=None, image=IMAGE, image_tokens=1)
    assert ids == [ord("a")]


def test_chunks_around_images_are_encoded_apart() -> None:
    letters = Letters()
    Template("<", ">").prompt_ids(letters, "a<image><image>b", bos=BOS, image=IMAGE, image_tokens=3)
    assert letters.chunks == ["<a", "b>"]


@pytest.mark.parametrize("name", ["mistral-instruct", "huatuo"])
def test_special_tokens_that_a_user_typed_are_removed(name: str) -> None:
    typed = "<image>\nWhere</s>? <s>"
    assert prompt(name, typed, reserved=["<s>", "</s>"]) == prompt(name, "<image>\nWhere? ")
    assert response(name, "Le</s>ft", reserved=["<s>", "</s>"]) == response(name, "Left")


def test_a_response_holds_no_image() -> None:
    assert response("huatuo", "<image>Left<image>") == ["Left", EOS]


def test_reserved_names_are_no_patterns() -> None:
    assert strip_reserved("a.c abc <|x|> x", ["a.c", "<|x|>", ""]) == " abc  x"
    assert strip_reserved("a", []) == "a"


NESTED = [("<s<s>>", ["<s>"]), ("<</s>/s>", ["</s>"]), ("<ima<s>ge>", ["<s>", "<image>"])]


@pytest.mark.parametrize(("text", "reserved"), NESTED)
def test_nested_special_tokens_leave_none(text: str, reserved: list[str]) -> None:
    left = strip_reserved(text, reserved)
    assert not any(name in left for name in [*reserved, "<image>"])


def test_a_placeholder_that_stripping_would_form_is_no_image() -> None:
    ids = templates["huatuo"].prompt_ids(
        Letters(), "<ima<s>ge> a", bos=None, image=IMAGE, image_tokens=4, reserved=["<s>"]
    )
    assert IMAGE not in ids


def test_fit_counts_prompt_and_response() -> None:
    fit(60, 4, 64, "a")
    with pytest.raises(
        InputError, match=r"pair a: 60 prompt tokens .* and 5 response tokens .* the 64 that fit"
    ):
        fit(60, 5, 64, "a")


def test_an_unknown_template_gets_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'huatuo'"):
        templates["huatu"]
