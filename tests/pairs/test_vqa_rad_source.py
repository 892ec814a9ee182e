"""VQA-RAD read from a small hand-made replica of its folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from medpref.errors import InputError
from medpref.pairs.pair import ImageRole, ResponseRole
from medpref.pairs.sources import DataSet, read_data_set, sources
from medpref.pairs.sources.base import read_data_pairs, read_split

SOURCE = sources["vqa-rad"]


def question(qid: int, image: str, answer: object, split: str = "train", **changes: Any) -> dict[str, Any]:
    return {
        "qid": qid,
        "image": image,
        "question": f"Question {qid}?",
        "answer": answer,
        "answer_type": "CLOSED",
        "question_type": ["PRES", "POS"],
        "split": split,
        "standard": True,
        **changes,
    }


QUESTIONS = [
    question(1, "a.png", "Yes"),
    question(2, "b.png", 3, answer_type="OPEN", question_type=["COUNT"]),
    question(3, "gone.png", "Yes"),
    question(4, "b.png", "", answer_type="OPEN"),
    question(5, "b.png", "Left", standard=False),
    question(6, "a.png", "No", "test"),
    question(7, "c.png", "Right", "test", answer_type="CLOSED ", question_type=[]),
    question(8, "gone.png", "Yes", "test"),
    question(9, "c.png", "A large mass", "test", answer_type="OPEN"),
]
PAIRS = [
    {
        "id": 0,
        "qid": 1,
        "image": "a.png",
        "question": "Question 1?",
        "chosen": "Yes",
        "rejected": "No",
        "weight": 1.0,
    },
    {
        "id": 1,
        "qid": 2,
        "image": "b.png",
        "question": "Question 2?",
        "chosen": 3,
        "rejected": "4",
        "weight": 0.0,
    },
    {
        "id": 2,
        "qid": 77,
        "image": "b.png",
        "question": "New?",
        "chosen": "Yes",
        "rejected": "No",
        "weight": 0.5,
    },
    {
        "id": 3,
        "qid": 1,
        "image": "b.png",
        "question": "Same?",
        "chosen": "Yes",
        "rejected": "Yes",
        "weight": 0.5,
    },
]


@pytest.fixture
def folder(make_image) -> Path:
    for seed, name in enumerate("abc"):
        path = make_image(f"{name}.png", seed)
    root = path.parent.parent
    write(root, "qa.jsonl", QUESTIONS)
    write(root, "preference_mmedpo.jsonl", PAIRS)
    return root


def write(root: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (root / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def load(folder: Path, fatal: bool = False) -> DataSet:
    settings = SOURCE.settings.model_validate({"folder": folder})
    return SOURCE.load(settings, folder / "out", fatal, lambda _: None)


def test_train_questions_become_supervised_pairs(folder: Path) -> None:
    train = load(folder).train
    assert [pair.id for pair in train] == ["qid-1", "qid-2"]
    assert train[0].prompt == "<image>\nQuestion 1?"
    assert train[0].images == {ImageRole.CLEAN: (folder / "images" / "a.png",)}
    assert [pair.responses for pair in train] == [{ResponseRole.CHOSEN: "Yes"}, {ResponseRole.CHOSEN: "3"}]
    assert [pair.kind for pair in train] == ["pres", "count"]


def test_published_pairs_carry_weight_and_kind(folder: Path) -> None:
    pool = load(folder).pool
    assert [pair.id for pair in pool] == ["0", "1", "2"]
    assert [pair.weight for pair in pool] == [1.0, 0.0, 0.5]
    assert [pair.kind for pair in pool] == ["pres", "count", None]
    assert pool[1].responses == {ResponseRole.CHOSEN: "3", ResponseRole.REJECTED: "4"}
    assert {pair.provenance.licence for pair in pool} == {"Apache-2.0"}


def test_test_questions_become_samples(folder: Path) -> None:
    samples = load(folder).samples["test", "vqa-rad"]
    assert [sample.id for sample in samples] == ["qid-6", "qid-7", "qid-9"]
    assert [sample.gold for sample in samples] == ["No", "Right", "A large mass"]
    assert [sample.cluster for sample in samples] == ["a.png", "c.png", "c.png"]
    assert [sample.kinds for sample in samples] == [("pres", "pos"), ("other",), ("pres", "pos")]


def test_closed_questions_need_no_yes_or_no(folder: Path) -> None:
    samples = load(folder).samples["test", "vqa-rad"]
    assert [sample.closed for sample in samples] == [True, True, False]


def test_rows_with_a_fault_are_put_aside_with_line_and_reason(folder: Path) -> None:
    aside = [
        (file.path.name, bad.line, bad.reason.split(":")[0])
        for file in load(folder).quarantined
        for bad in file.quarantined
    ]
    assert aside == [
        ("qa.jsonl", 3, "the image is missing"),
        ("qa.jsonl", 4, "the chosen response is empty"),
        ("qa.jsonl", 8, "the image is missing"),
        ("preference_mmedpo.jsonl", 4, "the chosen and the rejected response are equal"),
    ]


def test_fatal_stops_at_the_first_fault(folder: Path) -> None:
    with pytest.raises(InputError, match=r"qa\.jsonl, line 3, pair qid-3: the image is missing"):
        load(folder, fatal=True)


def test_fatal_also_stops_at_a_test_question(folder: Path) -> None:
    write(folder, "qa.jsonl", [QUESTIONS[0], QUESTIONS[7]])
    write(folder, "preference_mmedpo.jsonl", PAIRS[:1])
    with pytest.raises(InputError, match=r"qa\.jsonl, line 2"):
        load(folder, fatal=True)


def test_images_in_train_and_test_are_counted(folder: Path) -> None:
    data = load(folder)
    assert data.leakage() == {"test_images": 2, "also_in_train": 1}
    assert data.counts() == {
        "train": {"rows": 2, "images": 2},
        "pool": {"rows": 3, "images": 2},
        "test/vqa-rad": {"rows": 3, "images": 2},
    }


def test_the_written_folder_is_read_again(folder: Path, tmp_path: Path) -> None:
    data = load(folder)
    data.write(tmp_path / "written")
    assert read_data_pairs(tmp_path / "written", "train") == tuple(data.train)
    assert read_data_pairs(tmp_path / "written", "pool") == tuple(data.pool)
    assert read_split(tmp_path / "written", "test", "vqa-rad") == data.samples["test", "vqa-rad"]
    facts = read_data_set(tmp_path / "written")
    assert facts["leakage"] == {"test_images": 2, "also_in_train": 1}
    assert facts["quarantined"] == {
        "qa.jsonl: the image is missing": 2,
        "qa.jsonl: the chosen response is empty": 1,
        "preference_mmedpo.jsonl: the chosen and the rejected response are equal": 1,
    }


def test_the_tokenizer_learns_from_no_test_question(folder: Path) -> None:
    texts = SOURCE.texts(SOURCE.settings.model_validate({"folder": folder}))
    assert "Question 1?" in texts
    assert "3" in texts
    assert not {"Question 6?", "Right", "A large mass"} & set(texts)


def test_the_digest_follows_the_files(folder: Path, make_image) -> None:
    settings = SOURCE.settings.model_validate({"folder": folder})
    digests = [SOURCE.digest(settings)]
    make_image("d.png")
    digests.append(SOURCE.digest(settings))
    write(folder, "qa.jsonl", QUESTIONS[:3])
    digests.append(SOURCE.digest(settings))
    assert len(set(digests)) == 3


def test_a_folder_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the VQA-RAD folder is not there[\s\S]*data\.folder=PATH"):
        load(tmp_path / "nowhere")


def test_a_pair_cut_short_is_put_aside(folder: Path) -> None:
    path = folder / "preference_mmedpo.jsonl"
    path.write_text(path.read_text()[:-10])
    assert len(load(folder).pool) == 3


def test_pairs_as_the_docstring_describes_them(folder: Path) -> None:
    write(folder, "preference_mmedpo.jsonl", [{k: v for k, v in PAIRS[0].items() if k != "id"}])
    assert [pair.kind for pair in load(folder).pool] == ["pres"]
