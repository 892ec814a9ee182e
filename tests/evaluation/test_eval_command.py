"""``medpref eval`` as a user runs it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import BackboneMaker, ImageMaker

from medpref.cli import main
from medpref.evaluation.log import read_log

GOLDS = ("yes", "no", "left lung", "no", "right")


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run ``medpref eval`` in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["medpref", "eval", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    code = caught.value.code
    return code if isinstance(code, int) else 0


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def questions(tmp_path: Path, make_image: ImageMaker) -> Path:
    rows = [
        {"id": f"q{n}", "question": f"Where, {n}?", "image": str(make_image(f"{n}.png", n)), "answer": gold}
        for n, gold in enumerate(GOLDS)
    ]
    return write(tmp_path / "questions.jsonl", rows)


def rows_of(folder: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    results = json.loads((folder / "results.json").read_text())
    return {(row["method"], row["metric"], row["slice"]): row for row in results["rows"]}


def test_answers_made_elsewhere_are_scored_as_a_model_s(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], questions: Path, tmp_path: Path
) -> None:
    given = [{"id": "q0", "answer": "Yes."}, {"id": "q1", "answer": "yes"}, {"id": "q2", "answer": "lung"}]
    path = write(tmp_path / "given.jsonl", [*given, {"id": "q4", "answer": ""}, {"id": "zz", "answer": "x"}])
    out = tmp_path / "out"
    assert call(monkeypatch, "--data", questions, "--predictions", path, "--out", out, "--name", "m") == 0
    rows = rows_of(out)
    accuracy = rows["m", "accuracy", "closed"]
    # q3 has no answer: it is unscored, and no zero.
    assert (accuracy["value"], accuracy["n"], accuracy["unscored"]) == (0.5, 2, 1)
    assert rows["m", "exact_match", "open"]["value"] == 0
    assert rows["m", "token_f1", "open"]["value"] == pytest.approx((2 / 3 + 0) / 2)
    assert rows["baseline:yes-or-no", "accuracy", "closed"]["value"] == 0
    assert rows["baseline:yes-or-no", "legacy_closed", "closed"]["value"] == 1
    told = capsys.readouterr()
    assert "1 answers are to no sample of the task, such as 'zz'" in told.err
    assert "yes-or-no" in told.out


def test_a_model_is_asked_once_and_compared(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make_backbone: BackboneMaker,
    questions: Path,
    tmp_path: Path,
) -> None:
    make_backbone("mistral").save(tmp_path / "one")
    make_backbone("mistral", 1).save(tmp_path / "two")
    out = tmp_path / "out"
    options = ["--data", questions, "--out", out, "--set", "device=cpu", "--batch", 2]
    assert call(monkeypatch, tmp_path / "one", *options, "--condition", "blank") == 0
    log = read_log(out / "logs" / "one" / "vqa.normal.eval.jsonl")
    assert [record.id for record in log.records] == ["q0", "q1", "q2", "q3", "q4"]
    assert read_log(out / "logs" / "one" / "vqa.blank.eval.jsonl").header.condition == "blank"
    answers = out / "logs" / "one" / "vqa.normal.predictions.jsonl"
    before = answers.stat().st_mtime_ns
    assert call(monkeypatch, tmp_path / "one", *options) == 0
    assert answers.stat().st_mtime_ns == before, "what is answered is not asked again"
    capsys.readouterr()
    assert call(monkeypatch, tmp_path / "two", *options, "--control", "one") == 0
    comparisons = json.loads((out / "results.json").read_text())["comparisons"]
    assert {row["method"] for row in comparisons} == {"two"}
    assert "less one" in capsys.readouterr().out


def test_what_cannot_be_asked_is_unscored(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make_backbone: BackboneMaker,
    questions: Path,
    tmp_path: Path,
) -> None:
    make_backbone("mistral").save(tmp_path / "model")
    rows = [json.loads(line) for line in questions.read_text().splitlines()]
    rows[1]["question"] = "Where? " * 500
    write(questions, rows)
    out = tmp_path / "out"
    assert (
        call(monkeypatch, tmp_path / "model", "--data", questions, "--out", out, "--set", "device=cpu") == 0
    )
    told = capsys.readouterr().err
    assert "5 samples in" in told
    assert "1 cannot be asked and are unscored: q1: the prompt takes" in told
    records = {r.id: r for r in read_log(out / "logs" / "model" / "vqa.normal.eval.jsonl").records}
    assert "the prompt takes" in str(records["q1"].unscored)
    assert records["q0"].choice_logps
    assert rows_of(out)["model", "accuracy", "closed"]["unscored"] == 1


def test_questions_can_be_written_for_another_program(
    monkeypatch: pytest.MonkeyPatch, questions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "asked.jsonl"
    assert call(monkeypatch, "--data", questions, "--questions", out, "--limit", 2) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == ["q0", "q1"]
    assert Path(rows[0]["images"][0]).is_file()


def test_a_published_split_says_when_it_is_not_whole(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make_image: ImageMaker,
    tmp_path: Path,
) -> None:
    image = make_image("a.jpg")
    base = {
        "image": "a.jpg",
        "question": "Is it?",
        "answer": "yes",
        "answer_type": "CLOSED",
        "standard": True,
    }
    rows = [
        {**base, "qid": 1, "split": "train", "question_type": ["PRES"]},
        {**base, "qid": 2, "split": "test", "question_type": ["PRES"]},
    ]
    write(image.parent.parent / "qa.jsonl", rows)
    given = write(tmp_path / "given.jsonl", [{"qid": 2, "prediction": "yes"}])
    options = ["--task", "vqa-rad", "--data", tmp_path, "--predictions", given, "--out", tmp_path / "out"]
    assert call(monkeypatch, *options) == 0
    told = capsys.readouterr().out
    assert "451 published test rows, these are 1" in told
    assert "1 of the 1 test images also occur in train" in told
    assert rows_of(tmp_path / "out")["baseline:majority", "accuracy", "closed"]["value"] == 1


def test_reports_are_scored_by_their_facts_and_say_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    golds = {"a": "There is a left effusion. The heart is normal.", "b": "No pneumothorax."}
    rows = [{"id": key, "question": "Describe.", "answer": text} for key, text in golds.items()]
    data = write(tmp_path / "reports.jsonl", rows)
    said = [{"id": "a", "text": "There is a left effusion."}, {"id": "b", "text": "There is a pneumothorax."}]
    given = write(tmp_path / "given.jsonl", said)
    options = ["--task", "report", "--data", data, "--predictions", given, "--out", tmp_path / "out"]
    assert call(monkeypatch, *options, "--name", "m", "--judge", "rules", "--metric", "radgraph-f1") == 0
    rows_by = rows_of(tmp_path / "out")
    # Of two facts one is entailed; the only other one is contradicted.
    assert rows_by["m", "fact_comp", "all"]["value"] == pytest.approx((0.5 + 0) / 2)
    assert rows_by["m", "fact_hall", "all"]["value"] == pytest.approx((0 + 1) / 2)
    assert rows_by["m", "fact_precision", "all"]["value"] == pytest.approx(0.5)
    assert rows_by["m", "distinct_rate", "all"]["value"] == 1
    assert ("m", "radgraph-f1", "all") not in rows_by, "unscored is no zero"
    untold = json.loads((tmp_path / "out" / "results.json").read_text())["unscored_metrics"]
    assert [(row["metric"], row["n"]) for row in untold] == [("radgraph-f1", 2)]
    assert "radgraph-f1: 2 of m unscored" in capsys.readouterr().out


def test_judges_read_reports_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], questions: Path, tmp_path: Path
) -> None:
    options = ["--data", questions, "--predictions", questions, "--out", tmp_path / "out"]
    assert call(monkeypatch, *options, "--judge", "rules") == 2
    assert call(monkeypatch, *options, "--metric", "green") == 2
    assert "are no reports" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "vqa-red"], "'vqa-rad'"),
        (["--task", "slake"], "read from a folder"),
        (["--data", "gone.jsonl"], "no such file"),
        (["model", "--predictions", "x.jsonl"], "name a model to be asked, or --predictions"),
        ([], "name a model to be asked, or --predictions"),
    ],
)
def test_faults_are_told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    questions: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    data = [] if "--data" in arguments or "slake" in arguments else ["--data", questions]
    assert call(monkeypatch, *arguments, *data, "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err
