import json
from pathlib import Path
from typing import Any

import pytest

from medpref.errors import InputError
from medpref.generation.question import Question
from medpref.generation.questions import read_questions
from medpref.pairs.pair import ImageRole, Pair, ResponseRole, Turn
from medpref.pairs.sample import Sample, write_samples
from medpref.pairs.store import write_pairs


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.parquet"])
def test_of_a_pair_the_prompt_is_asked_on_the_clean_images(tmp_path: Path, name: str) -> None:
    pair = Pair(
        id="a",
        prompt="<image>\nWhere?",
        images={
            ImageRole.CLEAN: (tmp_path / "a.png",),
            ImageRole.REJECTED: (tmp_path / "b.png",),
        },
        responses={ResponseRole.CHOSEN: "Left.", ResponseRole.REJECTED: "Right."},
    )
    write_pairs(tmp_path / name, [pair])
    expected = Question("a", "<image>\nWhere?", (tmp_path / "a.png",))
    assert read_questions(tmp_path / name) == ((expected,), ())


def test_a_task_s_samples(tmp_path: Path) -> None:
    samples = [
        Sample("a", "<image>\nWhere?", (tmp_path / "x/a.png",), "left"),
        Sample("b", "What?", (), "it"),
    ]
    write_samples(tmp_path / "test.vqa.jsonl", samples)
    file = read_questions(tmp_path / "test.vqa.jsonl")
    assert file.quarantined == ()
    assert file.questions == (
        Question("a", "<image>\nWhere?", (tmp_path / "x/a.png",)),
        Question("b", "What?"),
    )


def test_rows_without_an_answer(tmp_path: Path) -> None:
    path = write(
        tmp_path / "q.jsonl",
        {"question": "Where?", "image": "a.png"},
        "",
        {"id": 7, "prompt": "Which?", "images": ["a.png", "/data/b.png"]},
        {"prompt": "And now?", "image": "a.png", "history": [["<image>\nWhere?", "Left."]]},
    )
    root = tmp_path / "images"
    file = read_questions(path, images=root)
    assert file.quarantined == ()
    assert file.questions == (
        Question("line-1", "<image>\nWhere?", (root / "a.png",)),
        Question("7", "<image>\n<image>\nWhich?", (root / "a.png", Path("/data/b.png"))),
        Question("line-4", "And now?", (root / "a.png",), (Turn("<image>\nWhere?", "Left."),)),
    )


def test_rows_that_cannot_be_asked_are_named(tmp_path: Path) -> None:
    path = write(
        tmp_path / "q.jsonl",
        {"id": "a", "prompt": "Where?"},
        '{"id": "b", "prom',
        {"id": "c", "prompt": 3},
        {"id": "d", "prompt": "<image>\nWhere?"},
        {"id": "e", "prompt": "Where?", "images": [3]},
        {"id": "a", "prompt": "When?"},
        ["no", "object"],
        {"id": "f", "prompt": "Where?", "history": ["no turn"]},
        {"id": "g", "prompt": " "},
        {"id": "h", "prompt": "How?"},
    )
    file = read_questions(path)
    assert [question.id for question in file.questions] == ["a", "h"]
    assert [(row.line, row.id) for row in file.quarantined] == [
        (2, None), (3, "c"), (4, "d"), (5, "e"), (6, "a"), (7, None), (8, "f"), (9, "g"),
    ]  # fmt: skip
    reasons = [row.reason for row in file.quarantined]
    assert "no JSON" in reasons[0]
    assert reasons[2] == "1 <image> in the prompt for 0 images"
    assert reasons[4] == "the id is that of an earlier line"


def test_faulty_pairs_are_named(tmp_path: Path) -> None:
    row = {"id": "a", "question": "Is it?", "answer": "yes"}
    file = read_questions(write(tmp_path / "p.jsonl", row, row, {"id": "c", "question": "Is it?"}))
    assert [question.id for question in file.questions] == ["a"]
    assert [row.line for row in file.quarantined] == [2, 3]


@pytest.mark.parametrize("text", ["", "\n", "{}\n", '{"id": "a"}\n', "[]", "no json\n"])
def test_a_file_without_questions_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "q.jsonl").write_text(text)
    with pytest.raises(InputError, match=r"no question|broken"):
        read_questions(tmp_path / "q.jsonl")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_questions(tmp_path / "q.jsonl")


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_questions(tmp_path / "q.jsonl")
