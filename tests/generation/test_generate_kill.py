"""Kill the real process, and start it again: the answers must be those of a run that nobody disturbed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import BackboneMaker, ImageMaker

pytestmark = pytest.mark.slow


def start(folder: Path, questions: Path, out: Path) -> "subprocess.Popen[bytes]":
    options = ["--out", str(out), "--batch", "3", "--preset", "study", "--max-new-tokens", "60"]
    command = [sys.executable, "-m", "medpref", "generate", str(folder), str(questions), *options]
    return subprocess.Popen([*command, "--set", "device=cpu"], stderr=subprocess.PIPE)


def finish(folder: Path, questions: Path, out: Path) -> bytes:
    process = start(folder, questions, out)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()
    return out.read_bytes()


@pytest.fixture
def folder(make_backbone: BackboneMaker, tmp_path: Path) -> Path:
    make_backbone("mistral").save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def questions(tmp_path: Path, make_image: ImageMaker) -> Path:
    images = [str(make_image(f"{number}.png", number)) for number in range(3)]
    rows = [
        {"id": f"q{n}", "question": "Where? " * (n % 4 + 1), "image": images[n % 3 : n % 3 + n % 2]}
        for n in range(40)
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_killed_run_goes_on_to_identical_answers(folder: Path, questions: Path, tmp_path: Path) -> None:
    expected = finish(folder, questions, tmp_path / "undisturbed.jsonl")
    assert len(expected.splitlines()) == 41
    out = tmp_path / "answers.jsonl"
    for number, wanted in ((signal.SIGKILL, 3), (signal.SIGINT, 12), (signal.SIGKILL, 23)):
        process = start(folder, questions, out)
        until = time.monotonic() + 120
        while not out.exists() or out.read_bytes().count(b"\n") <= wanted:
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < until
            time.sleep(0.005)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode != 0
        assert (b"interrupted" in errors) == (number is signal.SIGINT)
        assert out.read_bytes().count(b"\n") < 41
    with out.open("ab") as file:
        # As a process leaves it that is killed in the middle of a line.
        file.write(b'{"id": "q')
    assert finish(folder, questions, out) == expected
