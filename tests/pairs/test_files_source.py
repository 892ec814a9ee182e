import json
from pathlib import Path
from typing import Any

import pytest

from medpref.errors import InputError
from medpref.pairs.pair import ResponseRole
from medpref.pairs.sources import DataSet, sources

SOURCE = sources["files"]


def row(ident: str, image: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"id": ident, "question": f"{ident}?", "image": image, "answer": answer, **more}


@pytest.fixture
def folder(make_image) -> Path:
    for seed, name in enumerate("abc"):
        path = make_image(f"{name}.png", seed)
    for name, rows in {
        "train": [row("1", "a.png", "Left", kind="side"), row("2", "a.png", "")],
        "pool": [row("3", "b.png", "Left", rejected="Right")],
        "test": [row("4", "a.png", "Yes."), row("5", "c.png", "Left")],
    }.items():
        (path.parent / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path.parent


def load(folder: Path, *names: str, fatal: bool = False, **more: Any) -> DataSet:
    paths = {name: folder / f"{name}.jsonl" for name in names}
    return SOURCE.load(SOURCE.settings.model_validate({**paths, **more}), folder, fatal, lambda _: None)


def test_each_file_has_its_place(folder: Path) -> None:
    data = load(folder, "train", "pool", "test", licence="CC0")
    assert [pair.id for pair in data.train] == ["1"]
    assert [pair.id for pair in data.pool] == ["3"]
    assert [sample.id for sample in data.samples["test", "vqa"]] == ["4", "5"]
    assert data.facts["licence"] == "CC0"
    assert ("validation", "vqa") not in data.samples


def test_the_train_file_is_the_pool_where_none_is_given(folder: Path) -> None:
    data = load(folder, "train", "test")
    assert data.pool == data.train


def test_yes_and_no_are_closed(folder: Path) -> None:
    samples = load(folder, "train", "test").samples["test", "vqa"]
    assert [sample.closed for sample in samples] == [True, False]
    assert [sample.gold for sample in samples] == ["Yes.", "Left"]
    assert samples[0].cluster == str(folder / "a.png")


def test_leakage_and_faults_are_counted(folder: Path) -> None:
    data = load(folder, "train", "pool", "test")
    assert data.leakage() == {"test_images": 2, "also_in_train": 1}
    assert [len(file.quarantined) for file in data.quarantined] == [1, 0, 0]


def test_fatal_stops(folder: Path) -> None:
    with pytest.raises(InputError, match=r"train\.jsonl, line 2, pair 2: the chosen response is empty"):
        load(folder, "train", "test", fatal=True)


def test_the_tokenizer_learns_from_no_test_question(folder: Path) -> None:
    settings = {name: folder / f"{name}.jsonl" for name in ("train", "pool", "test")}
    texts = SOURCE.texts(SOURCE.settings.model_validate(settings))
    assert "Left" in texts
    assert "Right" in texts
    assert not {"Yes.", "<image>\n4?"} & set(texts)


def test_the_digest_follows_the_files(folder: Path) -> None:
    settings = SOURCE.settings.model_validate({n: folder / f"{n}.jsonl" for n in ("train", "test")})
    before = SOURCE.digest(settings)
    with (folder / "test.jsonl").open("a") as file:
        file.write("\n")
    assert SOURCE.digest(settings) != before


def test_images_may_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "moved.jsonl"
    path.write_bytes((folder / "pool.jsonl").read_bytes())
    data = load(folder, "test", train=path, images=folder)
    assert data.train[0].responses[ResponseRole.REJECTED] == "Right"
