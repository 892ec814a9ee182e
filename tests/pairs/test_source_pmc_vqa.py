"""PMC-VQA read from small tables with the faults of the published ones."""

import csv
from pathlib import Path
from typing import Any

import pytest
from tests.pairs.source_replicas import aside, load, write_images

from medpref.pairs.pair import ResponseRole
from medpref.pairs.sources import DataSet

HEADER = ["Figure_path", "Question", "Answer", "Choice A", "Choice B", "Choice C", "Choice D", "Answer_label"]
CHOICES = [" A:CT ", " B: MRI ", "C. X-ray, plain", "PET"]


def row(answer: str, label: str, choices: list[str] = CHOICES, figure: str = "1.jpg") -> list[str]:
    return [figure, " What is the modality? ", answer, *choices, label]


TRAIN = [
    row(" MRI ", "B"),
    row("D", "D"),
    row("x-ray plain", ""),
    row("CT", "B"),
    row("Ultrasound", "E"),
    row("MRI", "B", [" A: ", " B: MRI ", "", " "]),
    row("MRI", "B", figure="gone.jpg"),
    row("Something else", "a"),
    row("yes", "A", ["Yes", "No", "no", "Yes "]),
    row("yes", "A", ["Yes", "yes.", "YES", "Yes "]),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path / "images", {"1.jpg": 1, "2.jpg": 2})
    write(tmp_path / "train.csv", HEADER, TRAIN)
    misspelt = [name if name != "Answer" else "Anwser" for name in HEADER]
    write(tmp_path / "test.csv", misspelt, [row("CT", "A", figure="2.jpg"), row("MRI", "B", figure="1.jpg")])
    return tmp_path


def write(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def read(folder: Path, **settings: Any) -> DataSet:
    return load("pmc-vqa", folder / "out", folder=folder, **settings)


def test_the_right_choice_is_the_chosen_response(folder: Path) -> None:
    chosen = {pair.id: pair.responses[ResponseRole.CHOSEN] for pair in read(folder).train}
    assert chosen == {
        "train-2": "MRI",
        "train-3": "PET",
        "train-4": "X-ray, plain",
        "train-9": "CT",
        "train-10": "Yes",
    }


def test_choices_are_asked_and_kept(folder: Path) -> None:
    data = read(folder)
    first = data.samples["test", "pmc-vqa"][0]
    assert first.prompt == "<image>\nWhat is the modality?\nA: CT\nB: MRI\nC: X-ray, plain\nD: PET"
    assert (first.gold, first.choices, first.closed) == ("CT", ("CT", "MRI", "X-ray, plain", "PET"), True)
    assert first.kinds[0] == "modality"
    assert read(folder).train[0].kind == "modality"
    assert read(folder, show_choices=False).train[0].prompt == "<image>\nWhat is the modality?"
    assert data.leakage() == {"test_images": 2, "also_in_train": 1}


def test_the_rejected_response_is_another_choice(folder: Path) -> None:
    pairs = {pair.id: pair for pair in read(folder).pool}
    assert pairs["train-2"].responses[ResponseRole.REJECTED] in ("CT", "X-ray, plain", "PET")
    assert pairs["train-10"].responses[ResponseRole.REJECTED] in ("No", "no")
    assert pairs["train-2"].provenance.recipe == "another choice"
    drawn = {read(folder, seed=s).pool[0].responses[ResponseRole.REJECTED] for s in range(12)}
    assert drawn == {"CT", "X-ray, plain", "PET"}
    assert set(read(folder, rejected="none").pool[0].responses) == {ResponseRole.CHOSEN}


def test_what_is_drawn_for_a_row_does_not_hang_on_the_others(folder: Path) -> None:
    whole = read(folder).pool[1]
    assert read(folder, max_rows=2).pool[1] == whole


def test_rows_without_a_right_choice_are_put_aside(folder: Path) -> None:
    found = [
        (file.path.name, row.line, row.reason)
        for file in read(folder).quarantined
        for row in file.quarantined
    ]
    assert [line for _, line, _ in found] == [5, 6, 7, 8, 11]
    assert found[0][2] == "the label says B, the answer's text is choice A"
    assert found[1][2] == "the answer 'E' is none of the choices"
    assert found[2][2] == "the question has fewer than two choices"
    assert found[4][2] == "all choices are the same"


def test_the_second_version_has_letters_for_answers(folder: Path) -> None:
    header = ["index", "Figure_path", "Caption", "Question", *HEADER[3:7], "Answer", "split"]
    write(folder / "train_2.csv", header, [["0", "1.jpg", "A figure.", "What?", *CHOICES, "C", "train"]])
    data = read(folder, version=2)
    assert data.train[0].responses[ResponseRole.CHOSEN] == "X-ray, plain"
    assert not aside(data)


def test_the_checked_test_goes_before_the_whole_one(folder: Path) -> None:
    write(folder / "test_clean.csv", HEADER, [row("PET", "D")])
    assert [sample.gold for sample in read(folder).samples["test", "pmc-vqa"]] == ["PET"]
