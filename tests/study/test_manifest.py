import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medpref.evaluation.log import EvaluationLog, LogHeader, Record
from medpref.evaluation.samples import sample_digest
from medpref.files import write_jsonl
from medpref.study.machine import describe_machine
from medpref.study.manifest import make_manifest


def record(number: int, **changes: Any) -> Record:
    plain = Record(
        id=f"q-{number}",
        prompt="<image>\nIs it?",
        images=(f"images/{number}.png",),
        cluster=str(number),
        prediction="yes",
        gold="no",
        kinds=("presence",),
        closed=True,
        scores={"accuracy": 0.0},
    )
    return replace(plain, **changes)


def log(*records: Record, method: str = "dpo", condition: str = "normal") -> EvaluationLog:
    header = LogHeader(
        "made-up", "tiny", method, 0, "vqa", 1, condition, "test", model=f"weights of {method}"
    )
    return EvaluationLog(header, records)


def make_run(run: Path) -> Path:
    (run / "images").mkdir(parents=True)
    for number in range(2):
        (run / "images" / f"{number}.png").write_bytes(b"picture %d" % number)
    write_jsonl(
        run / "stages" / "data" / "train.jsonl", [{"id": 1, "image": f"{run.absolute()}/images/0.png"}]
    )
    pairs = [{"id": 1, "images": {"clean": [f"{run.absolute()}/images/0.png"]}, "chosen": "yes"}]
    write_jsonl(run / "stages" / "pairs" / "crop" / "pairs.jsonl", pairs)
    return run


def test_the_same_study_elsewhere_has_the_same_hashes(tmp_path: Path) -> None:
    logs = [log(record(0), record(1)), log(record(0), record(1), method="sft", condition="blank")]
    first = make_manifest(make_run(tmp_path / "a"), logs)
    assert make_manifest(make_run(tmp_path / "elsewhere" / "b"), logs) == first
    assert set(first["data"]) == {"train"}
    assert first["pairs"]["crop"]["rows"] == 1
    assert first["models"] == {"tiny/seed-0/dpo": "weights of dpo", "tiny/seed-0/sft": "weights of sft"}
    assert (first["test"]["vqa"]["samples"], first["test"]["vqa"]["images"]) == (2, 2)


def test_a_changed_image_or_pair_changes_its_hash_alone(tmp_path: Path) -> None:
    logs = [log(record(0), record(1))]
    run = make_run(tmp_path / "a")
    before = make_manifest(run, logs)
    other = tmp_path / "b"
    shutil.copytree(run, other)
    (other / "images" / "1.png").write_bytes(b"another picture")
    rows = [{"id": 1, "images": {"clean": ["images/0.png"]}, "chosen": "no"}]
    write_jsonl(other / "stages" / "pairs" / "crop" / "pairs.jsonl", rows)
    after = make_manifest(other, logs)
    assert after["test"]["vqa"]["sha256"] == before["test"]["vqa"]["sha256"]
    assert after["test"]["vqa"]["images_sha256"] != before["test"]["vqa"]["images_sha256"]
    assert after["pairs"]["crop"]["sha256"] != before["pairs"]["crop"]["sha256"]
    (other / "images" / "1.png").unlink()
    assert make_manifest(other, logs)["test"]["vqa"]["images_sha256"] is None


@pytest.mark.parametrize("change", [{"prompt": "?"}, {"gold": "yes"}, {"cluster": "x"}, {"id": "q-9"}])
def test_what_is_asked_changes_the_digest(change: dict[str, str]) -> None:
    asked = [record(0), record(1)]
    assert sample_digest(asked[::-1]) == sample_digest(asked)
    assert sample_digest([record(0, prediction="no", scores={}, images=("x",)), record(1)]) == sample_digest(
        asked
    )
    assert sample_digest([record(0, **change), record(1)]) != sample_digest(asked)


def test_the_processor_is_named(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("processor\t: 0\nmodel name\t: Made-up 3000\nmodel name\t: Made-up 3000\n")
    assert describe_machine(told)["cpu"] == "Made-up 3000"
    assert describe_machine(tmp_path / "none")["cpu"]
    assert describe_machine(told)["cores"] >= 1
