"""LLaVA-Med's and PubMedVision's conversations, read from small arrays."""

from pathlib import Path
from typing import Any

import pytest
from tests.pairs.source_replicas import aside, load, write_array, write_images

from medpref.errors import InputError
from medpref.pairs.pair import ImageRole, ResponseRole, Turn
from medpref.pairs.sources import DataSet


def talk(*said: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(said)]


TALKS = [
    {
        "id": "1",
        "image": "1.jpg",
        "domain": {"chest_xray": False, "ct_scan": True},
        "conversatons": talk("What is shown?\n<image>", "A scan.", "Which plane?", "Axial."),
    },
    {"id": "2", "image": "2.jpg", "conversations": talk("Is it large?", "No")},
    {"id": "3", "conversations": talk("What is a scan?", "An image.")},
    {"id": "4", "image": "1.jpg", "conversations": talk("What?", "That.", "And now?")},
    {"id": "5", "image": "1.jpg", "conversations": talk("<image> and <image>?", "That.")},
    {"id": "6", "image": "1.jpg"},
    {"id": "7", "image": "gone.jpg", "conversations": talk("What?", "That.")},
    {"id": "8", "image": "1.jpg", "conversations": talk("What?", "That.", "Who?", " ")},
    {"id": "1", "image": "2.jpg", "conversations": talk("Is it small?", "No.", "Sure?", "Yes.")},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path / "images", {"1.jpg": 1, "2.jpg": 2, "3.jpg": 3})
    write_array(tmp_path / "llava_med_instruct_60k_inline_mention.json", TALKS)
    return tmp_path


def read(folder: Path, **settings: Any) -> DataSet:
    # No picture is asked, so that every row is looked at in train.
    settings = {"test_share": 0, "validation_share": 0, **settings}
    return load("llava-med", folder / "out", folder=folder, **settings)


def test_every_answer_is_learned_behind_what_was_said_before(folder: Path) -> None:
    pairs = {pair.id: pair for pair in read(folder).train}
    assert list(pairs) == ["1-1", "1-2", "2", "3", "8-1"]
    first, second = pairs["1-1"], pairs["1-2"]
    assert (first.prompt, first.history) == ("What is shown?\n<image>", ())
    assert second.history == (Turn("What is shown?\n<image>", "A scan."),)
    assert second.responses == {ResponseRole.CHOSEN: "Axial."}
    assert second.images == first.images == {ImageRole.CLEAN: (folder / "images" / "1.jpg",)}
    assert pairs["2"].prompt == "<image>\nIs it large?"
    assert pairs["3"].images == {}


def test_faults_of_conversations_are_put_aside(folder: Path) -> None:
    reasons = [
        (row.line, row.id, row.reason.split(":")[0])
        for f in read(folder).quarantined
        for row in f.quarantined
    ]
    assert reasons == [
        (4, None, "conversations has 3 turns"),
        (5, None, "2 <image> in the conversation for 1 images"),
        (6, None, "there is no conversations"),
        (7, "7", "the image is missing"),
        (8, "8-2", "the chosen response is empty"),
        (9, "1-1", "the id is taken"),
        (9, "1-2", "the id is taken"),
    ]


def test_the_last_answer_alone(folder: Path) -> None:
    pairs = {pair.id: pair for pair in read(folder, turns="last").train}
    assert pairs["1"].responses == {ResponseRole.CHOSEN: "Axial."}
    assert len(pairs["1"].history) == 1


def test_domains(folder: Path) -> None:
    data = read(folder, domains=("ct_scan",))
    assert [pair.id for pair in data.train] == ["1-1", "1-2"]
    assert "8 rows are left out: their figure is of none of the domains asked for." in data.facts["notes"]


def test_pictures_are_drawn_for_the_splits(folder: Path) -> None:
    names = [f"{number}.jpg" for number in range(30)]
    write_images(folder / "images", {name: number for number, name in enumerate(names)})
    rows = [
        {"id": n, "image": name, "conversations": talk("What?", "That.", "Why?", "So.")}
        for n, name in enumerate(names)
    ]
    write_array(folder / "llava_med_instruct_60k_inline_mention.json", rows)
    data = read(folder, test_share=0.3, validation_share=0.2)
    splits = {sample.id: key[0] for key, samples in data.samples.items() for sample in samples}
    assert set(splits.values()) == {"train", "validation", "test"}
    assert all(splits[f"{n}-1"] == splits[f"{n}-2"] for n in range(30))
    assert data.leakage()["also_in_train"] == 0
    with pytest.raises(ValueError, match="image-disjoint"):
        read(folder, split="official")


def test_which_of_several_files_has_to_be_said(folder: Path) -> None:
    (folder / "llava_med_instruct_60k_inline_mention.json").rename(folder / "a.json")
    write_array(folder / "b.json", TALKS[1:3])
    with pytest.raises(InputError, match=r"which file of LLaVA-Med[\s\S]*a\.json, b\.json"):
        read(folder)
    data = read(folder, files=("a.json", "b.json"))
    assert [pair.id for pair in data.train if pair.id.startswith("b")] == ["b-2", "b-3"]
    with pytest.raises(InputError, match="there is no such file"):
        read(folder, files=("c.json",))


def test_pubmedvision_shows_several_images(tmp_path: Path) -> None:
    write_images(tmp_path / "images", {"1_0.jpg": 1, "1_1.jpg": 2, "2.jpg": 3})
    rows = [
        {
            "id": "i-1",
            "image": ["images/1_0.jpg", "images/1_1.jpg"],
            "conversations": talk("Compare the images.", "One is darker."),
            "modality": "Computed Tomography",
            "body_part": "Chest",
        },
        {
            "id": "i-2",
            "image": ["images/2.jpg"],
            "conversations": talk("Which?", "That."),
            "modality": "X-ray",
        },
    ]
    write_array(tmp_path / "PubMedVision_InstructionTuning_VQA.json", rows)
    write_array(tmp_path / "PubMedVision_Alignment_VQA.json", rows)
    none = {"test_share": 0, "validation_share": 0, "folder": tmp_path}
    data = load("pubmedvision", tmp_path / "out", **none)
    assert data.train[0].prompt == "<image>\n<image>\nCompare the images."
    assert [path.name for path in data.train[0].images[ImageRole.CLEAN]] == ["1_0.jpg", "1_1.jpg"]
    assert not aside(data)
    some = load("pubmedvision", tmp_path / "out", **none, modalities=("x-ray",))
    assert [pair.id for pair in some.train] == ["i-2"]
