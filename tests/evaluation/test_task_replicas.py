"""Every task asked of a model, from a small replica of the data set that it is made for."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import BackboneMaker
from tests.pairs.source_replicas import png, write_array, write_images, write_lines, write_parquet

from medpref.cli import main
from medpref.evaluation.log import read_logs
from medpref.evaluation.tasks import tasks

Make = Callable[[Path], list[object]]


def vqa_rad(folder: Path) -> list[object]:
    write_images(folder / "images", {"a.jpg": 1, "b.jpg": 2})
    base = {"answer_type": "CLOSED", "question_type": ["PRES"], "standard": True, "image_organ": "CHEST"}
    rows = [
        {**base, "qid": 1, "image": "a.jpg", "question": "Is it?", "answer": "yes", "split": "train"},
        {**base, "qid": 2, "image": "b.jpg", "question": "Is it?", "answer": "no", "split": "test"},
    ]
    write_lines(folder / "qa.jsonl", rows)
    return [folder]


def slake(folder: Path) -> list[object]:
    write_images(folder / "imgs", {"xmlab1/source.jpg": 1, "xmlab2/source.jpg": 2})
    base = {
        "q_lang": "en",
        "location": "Lung",
        "modality": "CT",
        "answer_type": "OPEN",
        "content_type": "Organ",
    }
    for split, number in (("train", 1), ("test", 2)):
        row = {
            **base,
            "qid": 0,
            "img_name": f"xmlab{number}/source.jpg",
            "question": "Which?",
            "answer": "Lung",
        }
        write_array(folder / f"{split}.json", [row])
    return [folder]


def path_vqa(folder: Path) -> list[object]:
    for split, seed in (("train", 1), ("test", 2)):
        row = {"image": {"bytes": png(seed), "path": None}, "question": "what is it?", "answer": "cells"}
        write_parquet(folder / "data" / f"{split}-00000-of-00001.parquet", [row])
    return [folder]


def pmc_vqa(folder: Path) -> list[object]:
    write_images(folder / "images", {"1.jpg": 1})
    letters = [f"Choice {letter}" for letter in "ABCD"]
    for split in ("train", "test_clean"):
        with (folder / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["Figure_path", "Question", "Answer", *letters, "Answer_label"])
            writer.writerow(["1.jpg", "What is it?", "MRI", "A: CT", "B: MRI", "C: PET", "D: X-ray", "B"])
    return [folder]


def study(folder: Path, name: str) -> dict[str, Any]:
    write_images(folder / "images", {f"{name}/0.png": 1, f"{name}/1.png": 2})
    return {"id": name, "report": "The lungs are clear.", "image_path": [f"{name}/0.png", f"{name}/1.png"]}


def annotated(folder: Path) -> list[object]:
    parts = {"train": [study(folder, "CXR1_IM-1")], "val": [], "test": [study(folder, "CXR2_IM-1")]}
    (folder / "annotation.json").write_text(json.dumps(parts))
    return [folder]


def release_captions(folder: Path) -> list[object]:
    write_images(folder, {"a.png": 1, "b.png": 2})
    rows = [{"image_path": name, "caption": "An opacity."} for name in ("a.png", "b.png")]
    return [f"test={write_lines(folder / 'captions.jsonl', rows)}"]


def phantoms(folder: Path) -> list[object]:
    return ["train=2", "pool=1", "validation=1", "test=2", "size=32"]


def own(folder: Path) -> list[object]:
    write_images(folder, {"a.png": 1})
    rows = [{"id": "1", "question": "Which?", "image": "a.png", "answer": "The left lung."}]
    return [write_lines(folder / "own.jsonl", rows)]


REPLICAS: dict[str, Make] = {
    "vqa-rad": vqa_rad,
    "slake": slake,
    "path-vqa": path_vqa,
    "pmc-vqa": pmc_vqa,
    "mimic-cxr": annotated,
    "iu-xray": annotated,
    "amboss": release_captions,
    "phantom-vqa": phantoms,
    "phantom-caption": phantoms,
    "vqa": own,
    "report": own,
}


def test_every_task_has_a_replica() -> None:
    assert set(REPLICAS) == {name for name, _ in tasks.items()}


@pytest.fixture(scope="module")
def model(make_backbone: BackboneMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    make_backbone("mistral", max_length=192).save(folder)
    return folder


@pytest.mark.parametrize("name", REPLICAS)
def test_a_task_is_asked_and_scored(
    monkeypatch: pytest.MonkeyPatch, name: str, model: Path, tmp_path: Path
) -> None:
    data = [part for item in REPLICAS[name](tmp_path / "data") for part in ("--data", str(item))]
    out = tmp_path / "out"
    options = ["--out", str(out), "--name", "tiny", "--condition", "blank", "--set", "device=cpu"]
    judged = ["--judge", "rules"] if tasks[name].reports else []
    arguments = ["medpref", "eval", str(model), "--task", name, *data, *options, *judged]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    logs = [log for log in read_logs(out / "logs") if log.header.method == "tiny"]
    assert {log.header.condition for log in logs} == {"normal", "blank"}
    for log in logs:
        assert log.header.task_version == tasks[name].version
        assert log.records
        assert all(record.scores and record.unscored is None for record in log.records)
    rows = json.loads((out / "results.json").read_text())["rows"]
    wanted = {metric for metric, _ in tasks[name].headline}
    assert wanted & {row["metric"] for row in rows if row["method"] == "tiny"}
