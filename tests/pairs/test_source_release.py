"""The study release's own files, with their irregularities."""

from pathlib import Path
from typing import Any

import pytest
from tests.pairs.source_replicas import aside, load, write_array, write_images, write_lines

from medpref.pairs.formats import CAPTION_PROMPT, REPORT_PROMPT
from medpref.pairs.pair import ImageRole, ResponseRole
from medpref.pairs.sources import DataSet


def turns(question: str, answer: Any) -> list[dict[str, Any]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


PAIRS = [
    {
        "id": 0,
        "image": "a.jpg",
        "rejected_image": "b.jpg",
        "weighted_score": 0.8,
        "conversations": turns("<image>\nIs there a mass?", "Yes"),
        "rejected_conversations": turns("<image>\nIs there a mass?", "No"),
    },
    {"id": "1", "image": "a.jpg", "conversations": turns("<image>\nWhere?", "Left")},
    {"id": 1, "image": "a.jpg", "conversations": turns("<image>\nTwice?", "Left")},
    {"id": 2, "image": "gone.jpg", "conversations": turns("<image>\nWhere?", "Left")},
    {"id": 3, "image": "a.jpg", "conversations": turns("No placeholder?", "Left")},
]
QUESTIONS = [
    {
        "question_id": 1,
        "image": "a.jpg",
        "text": "Is it large?",
        "gpt4_answer": "Yes",
        "answer_type": "CLOSED ",
    },
    {
        "question_id": "2",
        "image": "b.jpg",
        "text": "<image>\nWhich side?",
        "gpt4_answer": "left",
        "answer_type": "Open",
    },
    {"question_id": 3, "image": "b.jpg", "text": "How many?", "gpt4_answer": 2, "answer_type": "Closed"},
    {"question_id": "1", "image": "b.jpg", "text": "Again?", "gpt4_answer": "no", "answer_type": "OPEN"},
    {"question_id": 5, "image": "b.jpg", "text": "Empty?", "gpt4_answer": "", "answer_type": "OPEN"},
    {"question_id": 6, "image": "b.jpg", "text": "None?"},
    {"id": "s1", "report": "Clear lungs.", "image_path": ["p10/p10000032/s5/c.jpg"]},
    {"image_path": "a.jpg", "caption": "A mass."},
    {"image_path": "a.jpg", "caption": "A mass."},
]


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    write_images(tmp_path / "images", {"a.jpg": 1, "b.jpg": 2, "p10/p10000032/s5/c.jpg": 3})
    return load(
        "release",
        tmp_path / "out",
        train=write_array(tmp_path / "pairs.json", PAIRS),
        test=write_lines(tmp_path / "test.jsonl", QUESTIONS),
        images=tmp_path / "images",
        licence="CC0-1.0",
    )


def test_pairs_keep_their_weight_and_rejected_sides(data: DataSet) -> None:
    assert [pair.id for pair in data.pool] == ["train-0", "train-1"]
    first = data.pool[0]
    assert first.responses == {ResponseRole.CHOSEN: "Yes", ResponseRole.REJECTED: "No"}
    assert first.images[ImageRole.REJECTED][0].name == "b.jpg"
    assert (first.weight, first.kind, first.provenance.licence) == (0.8, "presence", "CC0-1.0")


def test_answer_types_are_read_with_blanks_and_in_any_case(data: DataSet) -> None:
    samples = data.samples["test", "vqa"][:3]
    assert [sample.closed for sample in samples] == [True, False, True]
    assert [sample.gold for sample in samples] == ["Yes", "left", "2"]
    assert [sample.prompt.count("<image>") for sample in samples] == [1, 1, 1]
    assert samples[2].kinds[0] == "count"


def test_reports_and_captions_have_the_prompts_of_the_study(data: DataSet) -> None:
    (report,), captions = data.samples["test", "mimic-cxr"], data.samples["test", "amboss"]
    assert report.prompt == f"<image>\n{REPORT_PROMPT}"
    assert (report.kinds, report.cluster, report.closed) == (("report",), "10000032", False)
    assert [caption.prompt for caption in captions] == [f"<image>\n{CAPTION_PROMPT}"] * 2
    assert [caption.kinds for caption in captions] == [("caption",)] * 2


def test_faults_are_put_aside(data: DataSet) -> None:
    assert aside(data) == [
        ("pairs.json", 3, "the id is taken"),
        ("pairs.json", 4, "the image is missing"),
        ("pairs.json", 5, "0 <image> in the prompt for 1 images"),
        ("test.jsonl", 4, "the id is taken"),
        ("test.jsonl", 5, "the chosen response is empty"),
        ("test.jsonl", 6, "no gpt4_answer is given"),
    ]


def test_images_start_from_each_file_where_no_folder_is_given(tmp_path: Path) -> None:
    write_images(tmp_path / "one", {"a.jpg": 1})
    write_images(tmp_path / "two", {"b.jpg": 2})
    train = write_array(tmp_path / "one" / "pairs.json", PAIRS[1:2])
    test = write_lines(tmp_path / "two" / "test.jsonl", QUESTIONS[1:2])
    data = load("release", tmp_path / "out", train=train, test=test)
    assert data.train[0].images[ImageRole.CLEAN] == (tmp_path / "one" / "a.jpg",)
    assert data.samples["test", "vqa"][0].images == (tmp_path / "two" / "b.jpg",)
