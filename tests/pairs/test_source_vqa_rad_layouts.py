"""VQA-RAD as its authors publish it, and as Parquet files; the cleaned folder has tests of its own."""

from pathlib import Path
from typing import Any

import pytest
from tests.pairs.source_replicas import aside, load, png, write_array, write_images, write_parquet

from medpref.errors import InputError
from medpref.pairs.sources import DataSet


def original(qid: Any, image: str, answer: Any, **changes: Any) -> dict[str, Any]:
    return {
        "qid": qid,
        "phrase_type": "freeform",
        "qid_linked_id": "03f451ca-de62-4617-9679-e836026a7642",
        "image_name": image,
        "image_organ": "HEAD",
        "question": f"Question {qid}?",
        "question_type": "PRES",
        "answer": answer,
        "answer_type": "CLOSED",
        **changes,
    }


ROWS = [
    original(1, "a.jpg", "Yes"),
    original("2", "a.jpg", 3, question_type="COUNT, ATRIB", answer_type="OPEN"),
    original(3, "b.jpg", "No", phrase_type="test_freeform", answer_type="CLOSED "),
    original(4, "b.jpg", "left ", phrase_type="test_para", answer_type="OPEN", question_type="PRSE, POS"),
    original(5, "a.jpg", "Yes", phrase_type="frame"),
    original(6, "gone.jpg", "Yes"),
    original(1, "a.jpg", "Yes"),
    original(8, "a.jpg", None, phrase_type="para"),
    original(9, "a.jpg", "Other", phrase_type="para", question_type="Other", answer_type="OPEN"),
]


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    write_images(tmp_path / "VQA_RAD Image Folder", {"a.jpg": 1, "b.jpg": 2})
    write_array(tmp_path / "VQA_RAD Dataset Public.json", ROWS)
    return load("vqa-rad", tmp_path / "out", folder=tmp_path)


def test_the_phrase_type_tells_the_standard_split(data: DataSet) -> None:
    assert [pair.id for pair in data.train] == ["qid-1", "qid-2", "qid-9"]
    assert [sample.id for sample in data.samples["test", "vqa-rad"]] == ["qid-3", "qid-4"]
    assert "1 rows are left out: they are no part of the standard split." in data.facts["notes"]


def test_types_are_read_with_their_typos_and_blanks(data: DataSet) -> None:
    train, test = data.samples["train", "vqa-rad"], data.samples["test", "vqa-rad"]
    assert [sample.kinds for sample in train] == [("pres",), ("count", "attrib"), ("other",)]
    assert test[1].kinds == ("pres", "pos")
    assert [sample.closed for sample in (*train, *test)] == [True, False, False, True, False]
    assert [sample.gold for sample in (*train, *test)] == ["Yes", "3", "Other", "No", "left"]


def test_faults_of_the_original_file_are_put_aside(data: DataSet) -> None:
    assert [row[1:] for row in aside(data)] == [
        (6, "the image is missing"),
        (7, "the id is taken"),
        (8, "the chosen response is empty"),
    ]


def test_the_parquet_files_have_neither_ids_nor_types(tmp_path: Path) -> None:
    rows = [
        {"image": {"bytes": png(1), "path": "a.jpg"}, "question": "is there a mass?", "answer": "yes"},
        {"image": {"bytes": png(1), "path": "b.jpg"}, "question": "which plane is this?", "answer": "axial"},
    ]
    write_parquet(tmp_path / "data" / "train-00000-of-00001-eb8844602202be60.parquet", rows)
    write_parquet(tmp_path / "data" / "test-00000-of-00001-e5bc3d208bb4deeb.parquet", rows[:1])
    data = load("vqa-rad", tmp_path / "out", folder=tmp_path)
    assert [pair.id for pair in data.train] == ["train-00000-of-00001-1", "train-00000-of-00001-2"]
    assert [pair.kind for pair in data.train] == ["presence", "plane"]
    assert [sample.closed for sample in data.samples["train", "vqa-rad"]] == [True, False]
    assert data.leakage() == {"test_images": 1, "also_in_train": 1}


def test_a_folder_of_something_else_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no layout of VQA-RAD that is known[\s\S]*Looked for qa\.jsonl"):
        load("vqa-rad", tmp_path / "out", folder=tmp_path)
