import json
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from tests.conftest import BackboneMaker, ImageMaker
from tests.generation.servers import serving

from medpref.cli import main


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run ``medpref generate`` in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["medpref", "generate", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    code = caught.value.code
    return code if isinstance(code, int) else 0


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def folder(make_backbone: BackboneMaker, tmp_path: Path) -> Path:
    make_backbone("qwen2").save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def questions(tmp_path: Path, make_image: ImageMaker) -> Path:
    rows = [{"id": f"q{n}", "question": f"Where? {n}", "image": str(make_image("a.png"))} for n in range(4)]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_folder_answers_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    questions: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "answers.jsonl"
    options = ["--out", out, "--batch", 2, "--max-new-tokens", 5, "--set", "device=cpu"]
    assert call(monkeypatch, folder, questions, *options) == 0
    assert "4 of 4 questions are answered" in capsys.readouterr().err
    header, *answers = lines(out)
    assert header["sampling"]["max_new_tokens"] == 5
    assert sorted(str(answer["id"]) for answer in answers) == ["q0", "q1", "q2", "q3"]
    before = out.read_bytes()
    out.write_bytes(before[:-20])
    assert call(monkeypatch, folder, questions, *options) == 0
    assert out.read_bytes() == before
    assert call(monkeypatch, folder, questions, *options, "--temperature", 0.5) == 2
    assert "temperature is 0.0 there and 0.5 here" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_presets_and_their_changes(
    monkeypatch: pytest.MonkeyPatch, folder: Path, questions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "answers.jsonl"
    options = ["--preset", "study", "--max-new-tokens", 3, "--top-k", 7, "--top-p", 0.5, "--seed", 2]
    assert call(monkeypatch, folder, questions, "--out", out, *options) == 0
    assert lines(out)[0]["sampling"] == {
        "max_new_tokens": 3, "temperature": 0.8, "top_p": 0.5, "top_k": 7, "seed": 2,
    }  # fmt: skip


def test_failures_give_exit_code_1_and_are_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    questions: Path,
    tmp_path: Path,
) -> None:
    with questions.open("a") as file:
        file.write('{"id": "gone", "question": "Where?", "image": "gone.png"}\n{"id": "odd", "prompt": 3}\n')
    out = tmp_path / "answers.jsonl"
    assert call(monkeypatch, folder, questions, "--out", out, "--max-new-tokens", 3) == 1
    told = capsys.readouterr().err
    assert "4 of 5 questions are answered" in told
    assert "1 failed" in told
    assert "gone.png: the image is missing" in told
    assert "line 6, id odd cannot be asked" in told
    assert lines(tmp_path / "answers.failed.jsonl")[0]["id"] == "gone"


def test_an_endpoint_is_known_by_its_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], questions: Path, tmp_path: Path
) -> None:
    pytest.importorskip("httpx2")
    out = tmp_path / "answers.jsonl"
    with serving() as server:
        options = [server.address, questions, "--out", out, "--model", "tiny"]
        assert call(monkeypatch, *options) == 2
        assert "--allow-images" in capsys.readouterr().err
        assert server.requests == []
        assert call(monkeypatch, *options, "--allow-images", "--set", "timeout=30", "--batch", 2) == 0
        assert server.most <= 2
    assert {line["text"] for line in lines(out)[1:]} == {f"{n} ?erehW" for n in range(4)}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--engine", "vlm"], "Did you mean 'vllm'"),
        (["--preset", "greedi"], "Did you mean 'greedy'"),
        (["--top-p", 2], "--top-p"),
        (["--max-new-tokens", 0], "--max-new-tokens"),
        (["--allow-images"], "no setting 'allow_images'"),
        (["--set", "batch"], "KEY=VALUE"),
        (["--engine", "openai", "--model", "tiny"], "an endpoint is an address"),
    ],
)
def test_wrong_options_are_told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    questions: Path,
    tmp_path: Path,
    options: list[object],
    told: str,
) -> None:
    assert call(monkeypatch, folder, questions, "--out", tmp_path / "answers.jsonl", *options) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "answers.jsonl").exists()


def test_two_processes_do_not_write_to_one_file(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    questions: Path,
    tmp_path: Path,
) -> None:
    with FileLock(tmp_path / ".answers.jsonl.lock"):
        assert call(monkeypatch, folder, questions, "--out", tmp_path / "answers.jsonl") == 1
    assert "another process" in capsys.readouterr().err
