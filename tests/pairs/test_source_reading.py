"""What all sources of published data sets have in common, on a table of six questions."""

from pathlib import Path
from typing import Any

import pytest
from tests.pairs.source_replicas import aside, load, write_array, write_images, write_lines

from medpref.errors import InputError
from medpref.pairs.pair import ImageRole, ResponseRole
from medpref.pairs.sources import read_data_set, sources
from medpref.pairs.sources.changes import listing
from medpref.pairs.sources.splits import disjoint_splits, split_name

ROWS = [
    {"id": 1, "image": "a.png", "question": "Is there a mass?", "answer": "Yes", "split": "train"},
    {"id": "2", "image": "b.png", "question": "Which plane is this?", "answer": "axial", "split": "train"},
    {"id": 3, "image": "copy-of-a.png", "question": "Is it large?", "answer": "No.", "split": "test"},
    {"id": 4, "image": "c.png", "question": "How many masses are there?", "answer": 3, "split": "val"},
    {"id": 5, "image": "d.png", "question": "<image>\nWhere is it?", "answer": "left", "split": "test"},
    {"id": 6, "image": None, "question": "What is a mass?", "answer": "A lump.", "split": "train"},
]
BAD = [
    {"id": 2, "image": "a.png", "question": "Twice?", "answer": "Yes", "split": "train"},
    {"id": 8, "image": "gone.png", "question": "Missing?", "answer": "Yes", "split": "train"},
    {"id": 9, "image": "a.png", "question": "Empty?", "answer": " ", "split": "train"},
    {"id": 10, "image": "a.png", "question": "Which split?", "answer": "Yes", "split": "holdout"},
    {"id": 11, "image": ["a.png", "b.png"], "question": "<image> Two?", "answer": "Yes", "split": "train"},
    {"id": 12, "image": "cut.png", "question": "Whole?", "answer": "Yes", "split": "train"},
]
TABLE = {"fields": {"id": "id", "split": "split"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path, {"a.png": 1, "b.png": 2, "copy-of-a.png": 1, "c.png": 3, "d.png": 4, "cut.png": 5})
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    write_lines(tmp_path / "rows.jsonl", ROWS)
    return tmp_path


def read(folder: Path, **settings: Any):
    return load("table", folder / "out", file=folder / "rows.jsonl", **{**TABLE, **settings})


def test_rows_become_pairs_and_samples_of_their_split(folder: Path) -> None:
    data = read(folder)
    assert [pair.id for pair in data.train] == ["1", "2", "6"]
    assert {split: [s.id for s in rows] for (split, _), rows in data.samples.items()} == {
        "train": ["1", "2", "6"],
        "validation": ["4"],
        "test": ["3", "5"],
    }
    assert data.train[0].prompt == "<image>\nIs there a mass?"
    assert data.train[2].images == {}
    assert data.samples["validation", "vqa"][0].gold == "3"
    assert [sample.closed for sample in data.samples["test", "vqa"]] == [True, False]
    assert [pair.kind for pair in data.train[:2]] == ["presence", "plane"]
    assert data.pool == data.train
    assert not aside(data)


def test_bad_rows_are_put_aside_with_line_and_reason(folder: Path) -> None:
    write_lines(folder / "rows.jsonl", [*ROWS, *BAD])
    data = read(folder)
    assert [row[1:] for row in aside(data)] == [
        (7, "the id is taken"),
        (8, "the image is missing"),
        (9, "the chosen response is empty"),
        (10, "the split 'holdout' is unknown"),
        (11, "1 <image> in the prompt for 2 images"),
        (12, "the image cannot be read (OSError)"),
    ]
    assert len(data.train) == 3


def test_a_look_at_the_header_misses_a_file_cut_short(folder: Path) -> None:
    write_lines(folder / "rows.jsonl", [*ROWS, *BAD])
    found = [line for _, line, _ in aside(read(folder, verify="header"))]
    assert found == [7, 8, 9, 10, 11]


@pytest.mark.parametrize("bad", BAD, ids=lambda row: row["question"])
def test_fatal_stops_at_the_first_bad_row(folder: Path, bad: dict[str, Any]) -> None:
    write_lines(folder / "rows.jsonl", [*ROWS, bad])
    with pytest.raises(InputError, match=r"rows\.jsonl, line 7"):
        read(folder, fatal=True)


def test_what_is_put_aside_is_written_even_with_half_characters(folder: Path) -> None:
    path = folder / "rows.jsonl"
    path.write_bytes(
        path.read_bytes() + b'{"id": "\xff", "question": "a", "answer": "b"}\n{"id": "\\ud800"}\n'
    )
    read(folder).write(folder / "written")
    assert sum(read_data_set(folder / "written")["quarantined"].values()) == 2


def test_the_same_picture_under_another_name_is_counted(folder: Path) -> None:
    data = read(folder)
    assert data.leakage() == {"test_images": 2, "also_in_train": 0}
    assert data.facts["leakage_by_content"] == {"test_images": 2, "also_in_train": 1}
    assert any("1 of 2 test pictures also occur in train" in note for note in data.facts["notes"])


def many(folder: Path) -> Path:
    names = [f"{number}.png" for number in range(40)]
    write_images(folder, {name: number // 2 for number, name in enumerate(names)})
    return write_lines(
        folder / "rows.jsonl",
        [
            {"id": n, "image": name, "question": "Is there one?", "answer": "no"}
            for n, name in enumerate(names)
        ],
    )


def test_an_image_disjoint_split_parts_no_picture(folder: Path) -> None:
    many(folder)
    data = read(folder, split="image-disjoint", fields={"id": "id"}, test_share=0.3)
    splits = {sample.id: split for (split, _), rows in data.samples.items() for sample in rows}
    assert len(splits) == 40
    assert set(splits.values()) == {"train", "validation", "test"}
    assert all(splits[str(number)] == splits[str(number + 1)] for number in range(0, 40, 2))
    assert data.facts["leakage_by_content"]["also_in_train"] == 0


def test_an_image_disjoint_split_follows_seed_and_not_order(folder: Path) -> None:
    path = many(folder)

    def tested(**settings: Any) -> set[str]:
        data = read(folder, split="image-disjoint", fields={"id": "id"}, **settings)
        return {sample.id for sample in data.samples["test", "vqa"]}

    first = tested()
    assert tested(seed=1) != first
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert tested() == first


def test_rows_that_share_a_key_by_way_of_another_row_stay_together() -> None:
    keys = [["a", "b"], ["c"], ["b", "d"], ["d", "c"], ["e"]]
    shares = {"test": 0.5}
    found = {seed: disjoint_splits(keys, seed, shares) for seed in range(20)}
    assert all(len(set(splits[:4])) == 1 for splits in found.values())
    assert {splits[0] for splits in found.values()} == {"train", "test"}
    assert any(splits[0] != splits[4] for splits in found.values())


def test_the_shares_are_kept() -> None:
    keys = [[str(number)] for number in range(4000)]
    splits = disjoint_splits(keys, 0, {"test": 0.2, "validation": 0.1})
    assert splits.count("test") == pytest.approx(800, abs=100)
    assert splits.count("validation") == pytest.approx(400, abs=80)


def test_a_patient_is_in_one_split(folder: Path) -> None:
    names = [f"{number}.png" for number in range(30)]
    write_images(folder, {name: number for number, name in enumerate(names)})
    rows = [
        {"id": n, "image": name, "question": "Is there one?", "answer": "no", "who": n % 10}
        for n, name in enumerate(names)
    ]
    write_lines(folder / "rows.jsonl", rows)
    data = read(folder, split="image-disjoint", fields={"id": "id", "patient": "who"}, test_share=0.4)
    leak = data.facts["leakage_by_content"]
    assert leak["test_patients"] >= 1
    assert leak["patients_also_in_train"] == 0
    assert {sample.cluster for sample in data.samples["test", "vqa"]} <= {str(n) for n in range(10)}


def test_own_pairs_are_the_pool(folder: Path) -> None:
    turns = [{"from": "human", "value": "<image>\nIs it large?"}, {"from": "gpt", "value": "No"}]
    wrong = [turns[0], {"from": "gpt", "value": "Yes"}]
    pairs = [
        {"id": "p", "image": "d.png", "conversations": turns, "rejected_conversations": wrong},
        {"id": "q", "image": "d.png", "conversations": turns, "rejected_conversations": turns},
    ]
    data = read(folder, pairs=write_array(folder / "pairs.json", pairs))
    assert [pair.id for pair in data.pool] == ["p"]
    assert data.pool[0].responses == {ResponseRole.CHOSEN: "No", ResponseRole.REJECTED: "Yes"}
    assert data.pool[0].images == {ImageRole.CLEAN: (folder / "d.png",)}
    assert data.pool[0].kind == "size"
    assert aside(data) == [("pairs.json", 2, "the chosen and the rejected response are equal")]
    assert data.leakage()["also_in_train"] == 1


def test_an_image_disjoint_split_keeps_pairs_on_asked_pictures_out(folder: Path) -> None:
    many(folder)
    turns = [{"from": "human", "value": "Is it large?"}, {"from": "gpt", "value": "No"}]
    pairs = [
        {"id": n, "image": f"{n}.png", "conversations": [{**turns[0], "value": "<image> Large?"}, turns[1]]}
        for n in range(40)
    ]
    data = read(
        folder,
        split="image-disjoint",
        fields={"id": "id"},
        pairs=write_array(folder / "pairs.json", pairs),
    )
    assert {pair.id for pair in data.pool} == {pair.id for pair in data.train}
    left = 40 - len(data.train)
    assert f"{left} preference pairs are left out: their pictures are asked." in data.facts["notes"]


def test_the_most_rows_of_each_split(folder: Path) -> None:
    data = read(folder, max_rows=1)
    assert {split: len(rows) for (split, _), rows in data.samples.items()} == {
        "train": 1,
        "validation": 1,
        "test": 1,
    }


def test_texts_are_those_of_train_and_no_file_is_written(folder: Path) -> None:
    source = sources["table"]
    texts = source.texts(source.settings.model_validate({"file": folder / "rows.jsonl", **TABLE}))
    assert texts == ["Is there a mass?", "Yes", "Which plane is this?", "axial", "What is a mass?", "A lump."]
    assert not (folder / "out").exists()


def test_the_digest_follows_rows_and_images(folder: Path) -> None:
    (folder / "images").mkdir()
    source = sources["table"]
    settings = source.settings.model_validate(
        {"file": folder / "rows.jsonl", "images": folder / "images", **TABLE}
    )
    digests = [source.digest(settings)]
    write_images(folder / "images", {"x.png": 1})
    digests.append(source.digest(settings))
    write_lines(folder / "rows.jsonl", ROWS[:2])
    digests.append(source.digest(settings))
    assert len(set(digests)) == 3


def test_a_listing_ends_at_its_depth(tmp_path: Path) -> None:
    write_images(tmp_path, {"p10/p100/s1/a.png": 1, "p10/b.png": 2})
    assert [name for name, _ in listing(tmp_path, 2)] == ["p10/p100", "p10/b.png"]
    assert [name for name, _ in listing(tmp_path, None)] == ["p10/b.png", "p10/p100/s1/a.png"]


def test_a_run_below_the_rows_does_not_change_the_digest(folder: Path) -> None:
    source = sources["table"]
    settings = source.settings.model_validate({"file": folder / "rows.jsonl", **TABLE})
    before = source.digest(settings)
    read(folder).write(folder / "run")
    assert source.digest(settings) == before


def test_no_sound_row_is_an_error_that_tells_the_first_fault(folder: Path) -> None:
    write_lines(folder / "rows.jsonl", [BAD[1]])
    with pytest.raises(InputError, match=r"no row that can be used, 1 have[\s\S]*the image is missing"):
        read(folder)


def test_shares_leave_something_to_train_on(folder: Path) -> None:
    with pytest.raises(ValueError, match="leave nothing to train on"):
        read(folder, split="image-disjoint", test_share=0.6, validation_share=0.4)


@pytest.mark.parametrize("said", ["val", "Validation", " dev ", "validate"])
def test_splits_go_by_many_names(said: str) -> None:
    assert split_name(said) == "validation"
