"""Users' own tables, by the names of their columns."""

from pathlib import Path
from typing import Any

import pytest
from tests.pairs.source_replicas import (
    aside,
    load,
    png,
    write_array,
    write_images,
    write_lines,
    write_parquet,
)

from medpref.errors import InputError
from medpref.pairs.images import open_mask
from medpref.pairs.pair import ImageRole, ResponseRole
from medpref.pairs.sources import sources

GERMAN = {
    "id": "Nummer",
    "question": "Frage",
    "answer": "Antwort",
    "rejected": "Falsch",
    "image": ["Bild", "Bild 2"],
    "kind": "Art",
    "split": "Teil",
    "choices": "Auswahl",
    "weight": "Gewicht",
    "patient": "Patient",
    "region": "Maske",
    "closed": "Geschlossen",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path, {"a.png": 1, "b.png": 2, "m.png": 3})
    lines = [
        "Nummer;Frage;Antwort;Falsch;Bild;Bild 2;Art;Teil;Auswahl;Gewicht;Patient;Maske;Geschlossen;Rest",
        "1;Wo ist der Herd?;links;rechts;a.png;b.png;Position;train;;0.5;P1;m.png;;x",
        '2;Größe?;klein;;a.png;;;Prüfung;"klein|mittel|groß";;P2;;;x',
        "3;Ist da ein Herd?;Ja;;b.png;;Presence;train;;schwer;P3;;ja;x",
        "4;Ist da ein Herd?;Ja;;b.png;;Presence;train;;;P3;;yes;x",
        ";Ohne Nummer?;Ja;;b.png;;Presence;train;;;P3;;;x",
    ]
    (tmp_path / "Fragen.csv").write_bytes("\r\n".join(lines).encode("latin-1"))
    return tmp_path


def read(folder: Path, **settings: Any):
    asked = {
        "file": folder / "Fragen.csv",
        "fields": GERMAN,
        "encoding": "latin-1",
        "separator": "|",
        "splits": {"Prüfung": "test"},
        "licence": "CC0-1.0",
    }
    return load("table", folder / "out", **{**asked, **settings})


def test_columns_are_read_by_their_names(folder: Path) -> None:
    data = read(folder)
    first = data.train[0]
    assert first.id == "1"
    assert first.prompt == "<image>\n<image>\nWo ist der Herd?"
    assert first.images == {ImageRole.CLEAN: (folder / "a.png", folder / "b.png")}
    assert first.responses == {ResponseRole.CHOSEN: "links", ResponseRole.REJECTED: "rechts"}
    assert (first.weight, first.kind, first.provenance.licence) == (0.5, "position", "CC0-1.0")
    assert open_mask(first.region).any()
    assert data.samples["train", "vqa"][0].cluster == "P1"
    assert [sample.closed for sample in data.samples["train", "vqa"]] == [False, True]


def test_choices_make_a_closed_question(folder: Path) -> None:
    (sample,) = read(folder).samples["test", "vqa"]
    assert (sample.choices, sample.closed, sample.gold) == (("klein", "mittel", "groß"), True, "klein")


def test_cells_that_cannot_be_read_are_put_aside(folder: Path) -> None:
    assert aside(read(folder)) == [
        ("Fragen.csv", 4, "the weight 'schwer' is no number"),
        ("Fragen.csv", 6, "the id is empty"),
    ]


def test_the_wrong_encoding_puts_its_rows_aside(folder: Path) -> None:
    data = read(folder, encoding="utf-8")
    assert ("Fragen.csv", 3, "the row is no utf-8 text") in aside(data)
    assert ("test", "vqa") not in data.samples


def test_a_column_that_is_not_there_is_an_error_with_the_nearest(folder: Path) -> None:
    with pytest.raises(InputError, match=r"there is no column 'Frge'[\s\S]*Did you mean 'Frage'"):
        read(folder, fields={**GERMAN, "question": "Frge"})


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "tsv"])
def test_files_of_each_split_in_every_form(tmp_path: Path, kind: str) -> None:
    write_images(tmp_path, {"a.png": 1})
    rows = [{"question": "Is it?", "answer": "no", "image": "a.png"}]
    for split in ("train", "test"):
        path = tmp_path / f"{split}.{kind}"
        if kind == "tsv":
            path.write_text("question\tanswer\timage\nIs it?\tno\ta.png\n")
        else:
            {"jsonl": write_lines, "json": write_array, "parquet": write_parquet}[kind](path, rows)
    data = load("table", tmp_path / "out", train=tmp_path / f"train.{kind}", test=tmp_path / f"test.{kind}")
    assert [(s.gold, s.closed) for s in data.samples["test", "vqa"]] == [("no", True)]
    assert data.leakage() == {"test_images": 1, "also_in_train": 1}
    assert data.train[0].id != data.samples["test", "vqa"][0].id


def test_images_inside_parquet_files_and_lists(tmp_path: Path) -> None:
    rows = [
        {"question": "Are they?", "answer": "no", "image": [{"bytes": png(n), "path": ""} for n in range(2)]}
    ]
    data = load("table", tmp_path / "out", train=write_parquet(tmp_path / "a.parquet", rows))
    assert [path.read_bytes() for path in data.train[0].images[ImageRole.CLEAN]] == [png(0), png(1)]


def test_rows_of_json_may_lack_a_column(tmp_path: Path) -> None:
    write_images(tmp_path, {"a.png": 1})
    rows = [
        {"question": "What is it?", "answer": 2.5},
        {"question": "And?"},
        {"question": ["a"], "answer": "b"},
    ]
    data = load("table", tmp_path / "out", train=write_lines(tmp_path / "a.jsonl", rows))
    assert [pair.responses[ResponseRole.CHOSEN] for pair in data.train] == ["2.5"]
    assert [row[1:] for row in aside(data)] == [
        (2, "there is no answer"),
        (3, "question must be a text, this is list"),
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "either file, or train"),
        ({"file": "a.csv", "train": "b.csv"}, "either file, or train"),
        ({"file": "a.csv", "test": "b.csv", "split": "image-disjoint"}, "file holds all splits"),
        ({"file": "a.csv"}, r"needs fields\.split"),
        ({"train": "a.csv", "fields": {"frage": "x"}}, "Extra inputs"),
        ({"train": "a.csv", "delimiter": ";;"}, "at most 1 character"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sources["table"].settings.model_validate(settings)
