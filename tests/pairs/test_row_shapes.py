from pathlib import Path
from typing import Any

import pytest

from medpref.pairs.formats import RowError, parse_row
from medpref.pairs.pair import ImageRole, Pair, Provenance, ResponseRole

ROOT = Path("/data")
CHOSEN, REJECTED = ResponseRole.CHOSEN, ResponseRole.REJECTED


def parse(row: Any) -> Pair:
    return parse_row(row, ROOT, "line-7")


def test_our_own_shape_in_full() -> None:
    pair = parse(
        {
            "id": "a",
            "prompt": "<image>\nWhere?",
            "images": {"clean": ["a.png"], "rejected": ["b.png"]},
            "responses": {"chosen": "Left", "rejected": "Right"},
            "weight": 0.9,
            "kind": "position",
            "region": "mask.png",
            "provenance": {"source": "x", "recipe": "crop", "seed": 3, "licence": "CC0"},
        }
    )
    assert pair == Pair(
        "a",
        "<image>\nWhere?",
        {ImageRole.CLEAN: (ROOT / "a.png",), ImageRole.REJECTED: (ROOT / "b.png",)},
        {CHOSEN: "Left", REJECTED: "Right"},
        0.9,
        "position",
        ROOT / "mask.png",
        Provenance("x", "crop", 3, "CC0"),
    )


def test_our_own_shape_at_its_barest() -> None:
    pair = parse({"prompt": "Where?", "responses": {"chosen": "Left", "rejected": None}, "images": None})
    assert pair == Pair("line-7", "Where?", {}, {CHOSEN: "Left"})


def test_trl_with_texts() -> None:
    row = {"images": ["a.png"], "prompt": "<image>Where?", "chosen": "Left", "rejected": "Right"}
    pair = parse(row)
    assert pair.prompt == "<image>Where?"
    assert pair.images == {ImageRole.CLEAN: (ROOT / "a.png",)}
    assert pair.responses == {CHOSEN: "Left", REJECTED: "Right"}
    assert pair.id == "line-7"


def test_trl_with_message_lists_and_image_parts() -> None:
    user = [{"type": "image"}, {"type": "text", "text": "Where?"}]
    pair = parse(
        {
            "id": 12,
            "images": [{"path": "a.png", "bytes": None}],
            "rejected_images": ["b.png"],
            "prompt": [{"role": "user", "content": user}],
            "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "Left"}]}],
            "rejected": [{"role": "assistant", "content": "Right"}],
            "weight": "0.5",
        }
    )
    assert pair.id == "12"
    assert pair.prompt == "<image>\nWhere?"
    assert pair.images == {ImageRole.CLEAN: (ROOT / "a.png",), ImageRole.REJECTED: (ROOT / "b.png",)}
    assert pair.responses == {CHOSEN: "Left", REJECTED: "Right"}
    assert pair.weight == 0.5


def test_trl_with_two_image_parts() -> None:
    content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Which?"}]
    pair = parse(
        {
            "images": ["a", "b"],
            "prompt": [{"role": "user", "content": content}],
            "chosen": "A",
            "rejected": "B",
        }
    )
    assert pair.prompt == "<image>\n<image>\nWhich?"
    assert len(pair.images[ImageRole.CLEAN]) == 2


def turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def test_llava_pairs_with_rejected_image_and_weight() -> None:
    pair = parse(
        {
            "id": 4,
            "image": "a.png",
            "rejected_image": "b.png",
            "weighted_score": 0.25,
            "conversations": turns("Where?\n<image>", "Left"),
            "rejected_conversations": turns("Where?\n<image>", "Right"),
        }
    )
    assert (pair.id, pair.prompt, pair.weight) == ("4", "Where?\n<image>", 0.25)
    assert pair.images == {ImageRole.CLEAN: (ROOT / "a.png",), ImageRole.REJECTED: (ROOT / "b.png",)}
    assert pair.responses == {CHOSEN: "Left", REJECTED: "Right"}


def test_llava_instructions_have_no_rejected_side() -> None:
    pair = parse({"id": "x", "image": "a.png", "conversations": turns("<image>\nWhere?", "Left")})
    assert pair.responses == {CHOSEN: "Left"}
    assert pair.weight is None


def test_a_question_row_gets_its_placeholder() -> None:
    pair = parse({"qid": 5, "question": "Where?", "answer": "Left", "image": "a.png"})
    assert (pair.id, pair.prompt) == ("5", "<image>\nWhere?")
    assert pair.responses == {CHOSEN: "Left"}


def test_a_question_row_keeps_its_own_placeholder() -> None:
    pair = parse({"question": "Where? <image>", "chosen": "Left", "rejected": "Right", "image": ["a.png"]})
    assert pair.prompt == "Where? <image>"
    assert pair.responses == {CHOSEN: "Left", REJECTED: "Right"}


def test_a_question_row_with_two_images_gets_two_placeholders() -> None:
    assert (
        parse({"question": "Which?", "answer": "A", "image": ["a", "b"]}).prompt == "<image>\n<image>\nWhich?"
    )


def test_a_text_only_question_gets_none() -> None:
    pair = parse({"question": "Why?", "answer": "Because"})
    assert (pair.prompt, pair.images) == ("Why?", {})


@pytest.mark.parametrize(("answer", "text"), [(3, "3"), (2.5, "2.5"), (True, "True"), ("3", "3")])
def test_numbers_are_answers(answer: object, text: str) -> None:
    assert parse({"question": "How many?", "answer": answer}).responses == {CHOSEN: text}


@pytest.mark.parametrize(("ident", "text"), [(0, "0"), ("0", "0"), ("a b", "a b"), (None, "line-7")])
def test_ids_are_texts(ident: object, text: str) -> None:
    assert parse({"id": ident, "question": "Why?", "answer": "x"}).id == text


def test_absolute_paths_stay() -> None:
    pair = parse({"question": "Why?", "answer": "x", "image": "/elsewhere/a.png"})
    assert pair.images[ImageRole.CLEAN] == (Path("/elsewhere/a.png"),)


RELEASE_ROWS = [
    {
        "question_id": "7",
        "image": "a.png",
        "text": "<image>\nWhere?",
        "gpt4_answer": 3,
        "answer_type": "CLOSED ",
    },
    {"id": 7, "report": "Clear.", "image_path": ["a.png"]},
    {"image_path": "a.png", "caption": "A lung."},
]


@pytest.mark.parametrize("row", RELEASE_ROWS, ids=["vqa", "mimic", "amboss"])
def test_the_releases_own_question_rows(row: dict[str, Any]) -> None:
    assert parse(row).images == {ImageRole.CLEAN: (ROOT / "a.png",)}


OWN = {"prompt": "Why?", "responses": {"chosen": "x"}}
BROKEN = [
    ([1], "a row must be a JSON object, this is list"),
    ("text", "this is str"),
    ({"id": 1}, "no known shape: expected the keys prompt"),
    ({**OWN, "prompt": None}, "prompt must be a text, this is NoneType"),
    ({**OWN, "responses": ["x"]}, "responses must map roles to values, this is list"),
    ({**OWN, "responses": {"chosen": ["x"]}}, "chosen must be a text, this is list"),
    ({**OWN, "images": ["a.png"]}, "images must map roles"),
    ({**OWN, "images": {"clean": [3]}}, "images must be given by path"),
    ({**OWN, "images": {"clean": [{"bytes": "…", "path": None}]}}, "images must be given by path"),
    ({**OWN, "weight": "heavy"}, "the weight 'heavy' is no number"),
    ({**OWN, "provenance": "x"}, "provenance must map"),
    ({"question": "Why?"}, "neither chosen nor answer"),
    ({"question": None, "answer": "x"}, "question must be a text"),
    ({"conversations": []}, "expected messages in conversations, found an empty list"),
    ({"conversations": ["Why?", "x"]}, "expected messages in conversations, found list"),
    ({"conversations": turns("a", "b")[:1]}, "conversations needs a question and an answer"),
    (
        {"conversations": [{"from": "human"}, {"from": "gpt", "value": "x"}]},
        "turn 1 of conversations must be a text, this is NoneType",
    ),
    ({"prompt": "Why?", "chosen": None}, "expected messages in chosen, found NoneType"),
    ({"prompt": "Why?", "chosen": []}, "expected messages in chosen, found an empty list"),
    ({"prompt": "Why?", "chosen": [{"role": "assistant"}]}, "turn 1 of chosen needs a content"),
    ({"prompt": [{"content": "a"}], "chosen": "x"}, "turn 1 of prompt is by None: only a user"),
    (
        {"prompt": [{"role": "user", "content": [{"type": "video"}]}], "chosen": "x"},
        "a part of turn 1 of prompt must be a text, this is NoneType",
    ),
    ({"prompt": [{"role": "user", "content": ["a"]}], "chosen": "x"}, "holds a part that is no object"),
]


@pytest.mark.parametrize(("row", "reason"), BROKEN, ids=[reason for _, reason in BROKEN])
def test_a_broken_row_says_why(row: object, reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        parse(row)


def test_an_unknown_role_is_named() -> None:
    with pytest.raises(ValueError, match="'chose' is not a valid ResponseRole"):
        parse({"prompt": "Why?", "responses": {"chose": "x"}})
