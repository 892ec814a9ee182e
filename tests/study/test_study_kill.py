"""Kill the real process, and start it again: the results must be those of a run that nobody disturbed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.study.conftest import write_study

pytestmark = pytest.mark.slow


def start(study: Path, out: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "medpref", "run", str(study), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(study: Path, out: Path) -> bytes:
    process = start(study, out)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors.decode()
    return (out / "results.json").read_bytes()


def wait_for(out: Path, pattern: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a file that matches `pattern` stands in the run's folder."""
    until = time.monotonic() + 300
    while not list(out.glob(pattern)):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    study = write_study(folder / "toy.yaml", workers=2)
    return study, finish(study, folder / "run")


@pytest.mark.parametrize(
    "pattern",
    [
        "stages/sft/tiny/seed-0.partial/checkpoints/checkpoint-*",
        "stages/train/tiny/seed-0/*/*.partial/checkpoints/checkpoint-*",
        "stages/eval/tiny/seed-0/*.partial/*.predictions.jsonl",
    ],
)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_goes_on_to_identical_results(
    undisturbed: tuple[Path, bytes], tmp_path: Path, pattern: str, number: signal.Signals
) -> None:
    study, expected = undisturbed
    process = start(study, tmp_path)
    wait_for(tmp_path, pattern, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    if number is signal.SIGINT:
        assert b"interrupted" in errors
        assert process.returncode == 1
    assert not (tmp_path / "results.json").exists()
    assert finish(study, tmp_path) == expected


def test_no_worker_outlives_a_killed_run(undisturbed: tuple[Path, bytes], tmp_path: Path) -> None:
    study, _ = undisturbed
    process = start(study, tmp_path)
    wait_for(tmp_path, "stages/sft/tiny/seed-0.partial/checkpoints/checkpoint-*", process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("this system does not list a process's children")
    workers = [int(child) for child in children.read_text().split()]
    process.kill()
    process.communicate()
    until = time.monotonic() + 10
    while any(alive(worker) for worker in workers) and time.monotonic() < until:
        time.sleep(0.1)
    assert not [worker for worker in workers if alive(worker)]


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # A process that has ended but was not collected yet is still listed.
    return "Z" not in Path(f"/proc/{process}/stat").read_text().split(")")[-1].split()[:1]


def test_two_processes_give_the_results_of_one(undisturbed: tuple[Path, bytes], tmp_path: Path) -> None:
    _, expected = undisturbed
    assert finish(write_study(tmp_path / "toy.yaml", workers=1), tmp_path / "run") == expected
