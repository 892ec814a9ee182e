import json
import sys
from pathlib import Path

import pytest

from medpref import __version__
from medpref.cli import main


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["medpref", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    code = caught.value.code
    return code if isinstance(code, int) else 0


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.strip() == f"medpref {__version__}"


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("studies", "phantom-full"),
        ("methods", "copo-roi"),
        ("objectives", "mmedpo"),
        ("tasks", "vqa-rad v2"),
        ("backbones", "tiny-llava"),
        ("families", "qwen-vl"),
        ("recipes", "image: roi-noise"),
        ("sources", "files"),
    ],
)
def test_ls(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str, name: str
) -> None:
    assert call(monkeypatch, "ls", what) == 0
    rows = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert any(row.startswith(name) and len(row) > len(name) + 5 for row in rows)


def test_ls_of_something_unknown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "ls", "objektives") == 2
    assert "'objectives'" in capsys.readouterr().err


def test_the_cache_may_stand_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], toy_run: Path, tmp_path: Path
) -> None:
    asked = []
    monkeypatch.setenv("MEDPREF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("medpref.study.run.run_study", lambda *given: asked.append(given[3]) or {})
    monkeypatch.setattr("medpref.report.write_report", lambda _: tmp_path)
    monkeypatch.setattr("medpref.report.print_table", lambda *_: None)
    monkeypatch.setattr("medpref.study.run.put_aside", lambda _: None)
    assert call(monkeypatch, "run", str(toy_run.parent / "toy.yaml"), "--out", str(tmp_path)) == 0
    assert asked == [tmp_path / "cache"]


def test_run_of_an_unknown_study(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "run", "phantum") == 2
    assert "'phantom'" in capsys.readouterr().err


def test_validate_counts_names_and_writes_aside_what_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    good = {"id": "a", "question": "Is this text?", "chosen": "yes", "rejected": "no"}
    equal = {**good, "id": "b", "rejected": "yes"}
    pairs.write_text(json.dumps(good) + "\n" + json.dumps(equal) + '\n{"id": "c", "quest')
    assert call(monkeypatch, "validate", str(pairs), "--quarantine", str(tmp_path / "bad.jsonl")) == 1
    out = capsys.readouterr().out
    assert "1 pairs, 2 quarantined" in out
    assert "line 2, id b: the chosen and the rejected response are equal" in out
    assert "line 3: the line is no JSON" in out
    refused = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [row["line"] for row in refused] == [2, 3]


def test_report_of_a_folder_without_a_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call(monkeypatch, "report", str(tmp_path)) == 2
    assert "results.json" in capsys.readouterr().err


def test_run_and_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], toy_run: Path
) -> None:
    study = str(toy_run.parent / "toy.yaml")
    assert call(monkeypatch, "run", study, "--out", str(toy_run)) == 0
    table = capsys.readouterr().out
    assert all(method in table for method in ("sft-continued", "dpo", "mmedpo"))
    assert "report.html" in table
    (toy_run / "report.html").unlink()
    assert call(monkeypatch, "report", str(toy_run)) == 0
    assert (toy_run / "report.html").is_file()
