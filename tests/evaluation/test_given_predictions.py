"""Answers that were made elsewhere are matched by id, exactly or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest

from medpref.errors import InputError
from medpref.evaluation.given import read_predictions
from medpref.pairs.sample import Sample

SAMPLES = [Sample(name, "Where?", (), "left") for name in ("qid-1", "qid-10", "test-a-7", "val-a-7")]


def read(tmp_path: Path, *rows: Any) -> tuple[list[str | None], tuple[str, ...]]:
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_predictions(path, SAMPLES)
    return list(found.answers), found.unknown


def test_ids_are_whole_or_the_end_of_one(tmp_path: Path) -> None:
    rows = [{"id": "qid-10", "prediction": "ten"}, {"qid": 1, "answer": "one"}]
    answers, unknown = read(tmp_path, *rows, {"id": "7", "text": "whose?"}, {"id": 0, "output": "none"})
    assert answers == ["one", "ten", None, None]
    assert unknown == ("7", "0"), "7 could be either of two, and 0 is not the end of 10"


def test_answers_of_medpref_generate_are_read(tmp_path: Path) -> None:
    header = {"medpref": "answers", "version": 1, "engine": {}, "sampling": {}}
    answers, _ = read(tmp_path, header, {"id": "qid-1", "text": "left", "finish": "stop", "tokens": 2})
    assert answers[0] == "left"


def test_an_empty_answer_is_one_and_null_is_none(tmp_path: Path) -> None:
    answers, _ = read(tmp_path, {"id": "qid-1", "prediction": ""}, {"id": "qid-10", "prediction": None})
    assert answers[:2] == ["", None]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "qid-1", "prediction": "a"}, {"id": 1, "prediction": "b"}], "answered twice"),
        ([{"id": "x", "prediction": "a"}], "none of the 1 answers, such as 'x'"),
        ([{"prediction": "a"}], "needs one of id"),
        ([{"id": "qid-1", "score": 1}], "one of prediction"),
        ([{"id": "qid-1", "prediction": ["a"]}], "one of prediction"),
        ([[1]], "no object"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, *rows)
    assert "predictions.jsonl" in str(caught.value)


def test_the_same_answer_twice_is_no_fault(tmp_path: Path) -> None:
    answers, _ = read(tmp_path, {"id": "qid-1", "prediction": "a"}, {"id": 1, "prediction": "a"})
    assert answers[0] == "a"
