"""PathVQA read from small Parquet files with the images inside."""

from pathlib import Path
from typing import Any

import pytest
from tests.pairs.source_replicas import aside, load, png, write_images, write_parquet

from medpref.errors import InputError
from medpref.pairs.pair import ImageRole
from medpref.pairs.sources import sources


def row(seed: int | None, question: str, answer: str | None) -> dict[str, Any]:
    image = None if seed is None else {"bytes": png(seed), "path": None}
    return {"image": image, "question": question, "answer": answer}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    first = [row(1, "what is present?", "cells"), row(1, "are cells present?", "yes")]
    second = [row(2, "what is this?", None), row(2, "", "a cell"), row(3, "is it large?", "no")]
    write_parquet(data / "train-00000-of-00002-1111111111111111.parquet", first)
    write_parquet(data / "train-00001-of-00002-2222222222222222.parquet", second)
    write_parquet(data / "validation-00000-of-00001.parquet", [row(4, "is it small?", "no")])
    write_parquet(
        data / "test-00000-of-00001.parquet", [row(1, "where is it?", "left"), row(5, "where?", "here")]
    )
    return tmp_path


def test_images_are_written_once_by_their_content(folder: Path) -> None:
    data = load("path-vqa", folder / "out", folder=folder)
    written = sorted((folder / "out" / "images").iterdir())
    first, second, third = data.train
    assert first.images == second.images
    assert first.images[ImageRole.CLEAN][0].read_bytes() == png(1)
    assert third.id == "train-00001-of-00002-3"
    assert {path.suffix for path in written} == {".png"}
    assert len(written) == 5
    assert data.leakage() == {"test_images": 2, "also_in_train": 1}
    assert [row[1:] for row in aside(data)] == [
        (1, "the chosen response is empty"),
        (2, "the prompt is empty"),
    ]


def test_a_second_reading_gives_the_same_and_keeps_the_files(folder: Path) -> None:
    first = load("path-vqa", folder / "out", folder=folder)
    times = {path: path.stat().st_mtime_ns for path in (folder / "out" / "images").iterdir()}
    second = load("path-vqa", folder / "out", folder=folder)
    assert first.train == second.train
    assert first.samples == second.samples
    assert times == {path: path.stat().st_mtime_ns for path in (folder / "out" / "images").iterdir()}


def test_texts_write_no_image(folder: Path) -> None:
    source = sources["path-vqa"]
    settings = source.settings.model_validate({"folder": folder})
    before = sorted(folder.rglob("*"))
    assert source.texts(settings)[:4] == ["what is present?", "cells", "are cells present?", "yes"]
    assert sorted(folder.rglob("*")) == before
    assert source.work(settings) == 8


def test_texts_of_an_image_disjoint_split_are_those_that_load_trains_on(folder: Path) -> None:
    source = sources["path-vqa"]
    settings = source.settings.model_validate({"folder": folder, "split": "image-disjoint", "seed": 3})
    data = source.load(settings, folder / "out", False, lambda _: None)
    texts = source.texts(settings)
    assert all(pair.prompt.removeprefix("<image>\n") in texts for pair in data.train)
    asked = {
        s.prompt.removeprefix("<image>\n")
        for key, rows in data.samples.items()
        if key[0] != "train"
        for s in rows
    }
    assert asked
    assert not asked & set(texts)


def test_images_in_a_folder_beside_the_rows(tmp_path: Path) -> None:
    write_images(tmp_path / "images", {"a.png": 1})
    rows = [{"image": {"bytes": None, "path": "a.png"}, "question": "is it?", "answer": "no"}]
    write_parquet(tmp_path / "train" / "0000.parquet", rows)
    data = load("path-vqa", tmp_path / "out", folder=tmp_path)
    assert data.train[0].images[ImageRole.CLEAN] == (tmp_path / "images" / "a.png",)
    assert data.train[0].id == "train-0000-1"


def test_the_original_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "qas").mkdir()
    (tmp_path / "qas" / "train_vqa.pkl").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(
        InputError, match=r"train_vqa\.pkl: these are pickles[\s\S]*flaviagiammarino/path-vqa"
    ):
        load("path-vqa", tmp_path / "out", folder=tmp_path)
