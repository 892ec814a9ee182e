"""A user's own file of questions with answers."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ImageMaker

from medpref.errors import InputError
from medpref.evaluation.asked import read_asked


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_of_several_shapes_are_samples(tmp_path: Path, make_image: ImageMaker) -> None:
    image = str(make_image("a.png"))
    path = write(
        tmp_path / "rows.jsonl",
        {"id": 1, "question": "Is there a mass?", "image": image, "answer": "Yes"},
        {"id": "b", "prompt": "<image>\nWhere?", "images": [image], "gold": "left", "kinds": ["position"]},
        {"question_id": 7, "image": image, "text": "How many?", "gpt4_answer": 2, "answer_type": "CLOSED "},
        {
            "id": "c",
            "question": "Which?",
            "image": image,
            "answer": "CT",
            "choices": ["CT", "MRI"],
            "patient": 3,
        },
    )
    first, second, third, fourth = read_asked(path).samples
    assert (first.id, first.closed, first.kinds[0], first.prompt) == (
        "1",
        True,
        "presence",
        "<image>\nIs there a mass?",
    )
    assert (second.gold, second.kinds, second.closed) == ("left", ("position",), False)
    assert (third.id, third.gold, third.closed, third.kinds[0]) == ("7", "2", True, "count")
    assert (fourth.choices, fourth.closed, fourth.cluster) == (("CT", "MRI"), True, "3")
    assert first.cluster == second.cluster, "the image is the cluster"


def test_a_table_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,question,answer,choices\n1,Which?,CT,CT; MRI\n2,Where?,left,\n")
    first, second = read_asked(tmp_path / "rows.csv", shown=False).samples
    assert first.choices == ("CT", "MRI")
    assert (second.closed, second.images) == (False, ())


def test_faulty_rows_are_put_aside_with_line_and_reason(tmp_path: Path, make_image: ImageMaker) -> None:
    image = str(make_image("a.png"))
    good = {"id": "a", "question": "Where?", "image": image, "answer": "left"}
    path = write(
        tmp_path / "rows.jsonl",
        good,
        good,
        {**good, "id": "b", "answer": " "},
        {**good, "id": "c", "image": "gone.png"},
        {"id": "d", "image": image},
        ["no object"],
    )
    with path.open("a") as file:
        file.write('{"id": "e", "quest')
    found = read_asked(path)
    assert [sample.id for sample in found.samples] == ["a"]
    reasons = [(row.line, row.reason) for row in found.quarantined]
    assert reasons[:3] == [
        (2, "the id is that of an earlier row"),
        (3, "the right answer is empty"),
        (4, "the image is missing"),
    ]
    assert [line for line, _ in reasons] == [2, 3, 4, 5, 6, 7]


def test_images_need_not_be_there_where_answers_are_only_scored(tmp_path: Path) -> None:
    row = {"id": "a", "question": "Where?", "image": "gone.png", "answer": "left"}
    path = write(tmp_path / "rows.jsonl", row)
    with pytest.raises(InputError, match="the image is missing") as caught:
        read_asked(path)
    assert "line 1" in str(caught.value)
    assert len(read_asked(path, shown=False).samples) == 1
