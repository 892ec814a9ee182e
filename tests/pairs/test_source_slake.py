"""SLAKE read from a small replica of its folders, and from Parquet files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.pairs.source_replicas import aside, load, png, write_array, write_images, write_parquet

from medpref.errors import InputError
from medpref.pairs.images import open_mask
from medpref.pairs.sources import DataSet


def question(qid: int, number: int, text: str, answer: Any, **changes: Any) -> dict[str, Any]:
    return {
        "img_id": number,
        "img_name": f"xmlab{number}/source.jpg",
        "question": text,
        "answer": answer,
        "q_lang": "en",
        "location": "Lung",
        "modality": "CT",
        "answer_type": "OPEN",
        "base_type": "vqa",
        "content_type": "Organ",
        "triple": ["vhead", "_", "_"],
        "qid": qid,
        **changes,
    }


TRAIN = [
    question(0, 1, "What modality is used?", "CT", content_type="Modality"),
    question(1, 1, "Where is the left lung?", "Left", content_type="Position"),
    question(2, 1, "图像中有什么?", "肺", q_lang="zh"),
    question(3, 1, "How many lungs are there?", 2, content_type="Quantity"),
    question(4, 1, "Is the lung healthy?", "No", content_type="Abnormality", answer_type="CLOSED"),
    question(5, 1, "What does the lung do?", "Breathe", content_type="KG"),
    question(6, 9, "Where?", "Here"),
    question(7, 1, "Is there a heart?", "No", content_type="Unheard", answer_type="closed "),
    question(8, 1, "What colour is it?", "", content_type="Color"),
]
BOXES = [{"Left Lung": [8.0, 2.0, 4.0, 6.0]}, {"Lung": [1.0, 2.0, 3.0, 6.0]}, {"Lung": [8, 2, 4, 6]}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path / "imgs", {"xmlab1/source.jpg": 1, "xmlab2/source.jpg": 2})
    (tmp_path / "imgs" / "xmlab1" / "detection.json").write_text(json.dumps(BOXES))
    write_array(tmp_path / "train.json", TRAIN)
    write_array(tmp_path / "validate.json", [question(0, 2, "Which organ is this?", "Lung")])
    write_array(tmp_path / "test.json", [question(0, 2, "Is this an MRI?", "Yes", answer_type="CLOSED")])
    return tmp_path


def read(folder: Path, **settings: Any) -> DataSet:
    return load("slake", folder / "out", folder=folder, **settings)


def test_english_questions_are_read_with_their_kinds(folder: Path) -> None:
    data = read(folder)
    assert [(pair.id, pair.kind) for pair in data.train] == [
        ("train-0", "modality"),
        ("train-1", "position"),
        ("train-3", "count"),
        ("train-4", "abnormality"),
        ("train-5", "other"),
        ("train-7", "presence"),
    ]
    assert data.samples["train", "slake"][2].gold == "2"
    assert [s.closed for s in data.samples["train", "slake"]] == [False, False, False, True, False, True]
    assert [s.id for s in data.samples["validation", "slake"]] == ["validation-0"]
    assert data.samples["test", "slake"][0].cluster == "xmlab2/source.jpg"
    assert "1 rows are left out: their language is 'zh'." in data.facts["notes"]
    assert aside(data) == [
        ("train.json", 7, "the image is missing"),
        ("train.json", 9, "the chosen response is empty"),
    ]


def test_other_languages_on_request(folder: Path) -> None:
    assert "图像中有什么?" in read(folder, languages=("zh", "en")).train[2].prompt


def test_a_region_covers_the_boxes_that_the_question_names(folder: Path) -> None:
    regions = {pair.id: pair.region for pair in read(folder).train}
    left = np.zeros((12, 16), dtype=bool)
    left[2:8, 8:12] = True
    both = left.copy()
    both[2:8, 1:4] = True
    assert np.array_equal(open_mask(regions["train-1"]), left)
    assert np.array_equal(open_mask(regions["train-3"]), both)
    assert regions["train-0"] is None
    assert regions["train-7"] is None


@pytest.mark.parametrize(
    "content", ["", "{}", '[{"Lung": [1, 2]}]', '[{"Lung": [1, 2, 300, 4]}]', '[{"Lung": [1, 2, 0, 4]}]']
)
def test_boxes_that_cannot_be_right_give_no_region(folder: Path, content: str) -> None:
    (folder / "imgs" / "xmlab1" / "detection.json").write_text(content)
    assert all(pair.region is None for pair in read(folder).train)


def test_regions_can_be_left(folder: Path) -> None:
    assert all(pair.region is None for pair in read(folder, regions=False).train)


def test_parquet_files_of_questions(tmp_path: Path) -> None:
    row = {"image": {"bytes": png(1), "path": None}, "question": "Which plane is this?", "answer": "Axial"}
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", [row])
    data = load("slake", tmp_path / "out", folder=tmp_path)
    assert [(pair.id, pair.kind) for pair in data.train] == [("train-00000-of-00001-1", "plane")]


def test_packed_images_are_told(tmp_path: Path) -> None:
    (tmp_path / "imgs.zip").write_bytes(b"")
    with pytest.raises(InputError, match=r"no layout of SLAKE[\s\S]*Unpack imgs\.zip first"):
        load("slake", tmp_path / "out", folder=tmp_path)
