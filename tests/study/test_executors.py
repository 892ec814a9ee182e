"""Stages beyond one process: workers that are lost, clusters, and what comes of it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.study.conftest import write_study

from medpref.errors import InputError, RunError
from medpref.progress import Progress
from medpref.study.executors import ExecutorSettings, executors
from medpref.study.executors.slurm import SlurmSettings
from medpref.study.job import JOBS, LOG, Follower, failure, history, job_folder, work, write_order
from medpref.study.load import load_study
from medpref.study.schedule import Where, run_stages
from medpref.study.stage import STAMP, Stage, stage_folder, stage_keys

SMALL: dict[str, Any] = {
    "data": {"source": "phantoms", "size": 32, "train": 6, "pool": 6, "validation": 1, "test": 3},
    "backbones": [
        {"name": "tiny", "family": "tiny-llava", "image_size": 32, "width": 32, "heads": 2}
        | {"key_value_heads": 1, "vision_layers": 1, "text_layers": 1}
    ],
    "sft": {"steps": 2, "images_per_step": 4},
    # A checkpoint after each step, so that a killed worker's stage has something to go on from.
    "training": {"steps": 12, "images_per_step": 4, "checkpoint_every": 1, "log_every": 1},
    "methods": {
        "sft-continued": {"objective": "sft"},
        "copo": {"objective": "copo", "rejected_image": "roi-noise"},
    },
    "search": None,
    "tasks": ["phantom-vqa"],
    "conditions": ["normal"],
    "threads": 1,
}


def run(study: Path, out: Path, *more: str) -> bytes:
    command = [sys.executable, "-m", "medpref", "run", str(study), "--out", str(out), *more]
    done = subprocess.run(command, capture_output=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return (out / "results.json").read_bytes()


@pytest.fixture(scope="module")
def sequential(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    folder = tmp_path_factory.mktemp("sequential")
    study = write_study(folder / "toy.yaml", **SMALL, workers=1)
    return study, run(study, folder / "run")


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(sequential: tuple[Path, bytes], tmp_path: Path) -> None:
    study, expected = sequential
    command = [sys.executable, "-m", "medpref", "run", str(study), "--out", str(tmp_path)]
    process = subprocess.Popen([*command, "--set", "workers=2"], stderr=subprocess.PIPE)
    killed: list[int] = []
    until = time.monotonic() + 600
    while not killed and time.monotonic() < until:
        assert process.poll() is None, "the run ended before a worker could be killed"
        begun = {line["stage"]: line["process"] for line in events(tmp_path, "begins")}
        ended = {line["stage"] for line in events(tmp_path, "ends")}
        trained = [name for name in begun if name.startswith("train/") and name not in ended]
        at_work = [
            n for n in trained if list(stage_folder(tmp_path, n).parent.glob("*.partial/checkpoints/*"))
        ]
        if at_work:
            os.kill(begun[at_work[0]], signal.SIGKILL)
            killed = [begun[at_work[0]]]
        time.sleep(0.02)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors.decode()
    assert b"begins again: the worker process was killed (SIGKILL)" in errors
    (lost,) = [line for line in history(tmp_path) if line["event"].startswith("lost")]
    again = [line for line in events(tmp_path, "begins") if line["stage"] == lost["stage"]]
    assert [line["attempt"] for line in again] == [1, 2]
    assert again[0]["process"] == killed[0] != again[1]["process"]
    assert (tmp_path / "results.json").read_bytes() == expected


@pytest.mark.slow
def test_a_ray_cluster_gives_the_results_of_one_process(
    sequential: tuple[Path, bytes], tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    study, expected = sequential
    told = ["--on", "ray", "--set", "executor.init={num_cpus: 2}", "--set", "executor.jobs=2"]
    assert run(study, tmp_path, *told) == expected
    assert len({line["process"] for line in history(tmp_path)}) >= 2
    assert (job_folder(tmp_path, "train/tiny/seed-0/copo/0") / LOG).is_file()


@pytest.mark.slow
def test_submitted_jobs_give_the_results_of_one_process(
    sequential: tuple[Path, bytes], tmp_path: Path
) -> None:
    pytest.importorskip("submitit")
    study, expected = sequential
    told = ["--on", "slurm", "--set", "executor.cluster=local", "--set", "executor.jobs=2"]
    assert run(study, tmp_path, *told, "--set", "executor.options={timeout_min: 20}") == expected
    assert list((tmp_path / JOBS / "submitted").glob("*_log.err"))


def events(folder: Path, event: str) -> list[Any]:
    return [line for line in history(folder) if line["event"] == event]


class Ended:
    """An attempt that is over at once."""

    def ended(self) -> bool:
        return True

    def told(self) -> str:
        return "the machine went away"


class Flaky:
    """An executor that loses the first workers of each stage, and does the rest on the spot."""

    slots, settle = 2, 0.0

    def __init__(self, losses: int) -> None:
        self.losses = losses
        self.started: list[str] = []

    def start(self, order: Path, stage: Stage) -> Ended:
        self.started.append(stage.name)
        if self.started.count(stage.name) > self.losses:
            said = json.loads(order.read_text())
            folder = stage_folder(Path(said["run"]), stage.name)
            folder.mkdir(parents=True)
            (folder / STAMP).write_text(json.dumps({"key": said["key"], "seconds": 1.0}))
        return Ended()

    def stop(self) -> None:
        self.started.append("stopped")


def run_flaky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: int, retries: int) -> list[str]:
    stages = {"a": Stage("a", "data"), "b": Stage("b", "pairs", needs={"a": "a"}), "c": Stage("c", "data")}
    flaky = Flaky(losses)
    kind = executors["local"]
    monkeypatch.setitem(executors._entries, "flaky", type(kind)("loses", ExecutorSettings, lambda *_: flaky))
    where = Where("flaky", ExecutorSettings(retries=retries))
    with Progress(Console(quiet=True)) as progress:
        try:
            run_stages(stages, stage_keys(stages), tmp_path, where, progress, cache=tmp_path / "cache")
        finally:
            assert flaky.started[-1] == "stopped"
    return flaky.started


def test_a_lost_stage_begins_again_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = run_flaky(tmp_path, monkeypatch, losses=1, retries=1)
    assert {name: started.count(name) for name in "abc"} == {"a": 2, "b": 2, "c": 2}
    assert [line["attempt"] for line in history(tmp_path)] == [1, 1, 1]


def test_a_stage_that_is_lost_too_often_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match=r"the machine went away; attempt 2 of 2"):
        run_flaky(tmp_path, monkeypatch, losses=2, retries=1)


def test_a_failure_is_told_as_it_was_raised(tmp_path: Path) -> None:
    stage = Stage("data", "data", {"source": "none such", "settings": {}, "fatal": True})
    order = write_order(stage, "k", tmp_path, tmp_path / "cache", store=None, layout="", attempt=1)
    work(order)
    error = failure(tmp_path, "data")
    assert isinstance(error, InputError)
    assert "there is no data source called 'none such'" in str(error)
    assert "attempt 1 on" in order.with_name(LOG).read_text()
    assert [line["event"] for line in history(tmp_path)] == ["begins", "ends"]


def test_what_a_worker_prints_goes_to_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medpref.study.stage import stage_functions

    def speak(context: Any) -> None:
        os.write(1, b"from below\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        context.expect(7)
        context.advance(3)
        context.advance(4)

    monkeypatch.setitem(stage_functions._entries, "speak", speak)
    order = write_order(
        Stage("a/b", "speak"), "k", tmp_path, tmp_path / "cache", store=None, layout="", attempt=2
    )
    work(order)
    assert "from below\nfrom a child\n" in order.with_name(LOG).read_text()
    updates = list(Follower(tmp_path, "a/b").news())
    assert [total for total, _ in updates if total is not None] == [7]
    assert sum(amount for _, amount in updates) == 7


def test_a_study_names_its_executor_and_its_settings(tmp_path: Path) -> None:
    path = write_study(tmp_path / "toy.yaml", executor={"on": "slurm", "jobs": 4, "options": {"mem_gb": 64}})
    study = load_study(path)
    settings = executors[study.executor.on].settings.model_validate(study.executor.settings)
    assert isinstance(settings, SlurmSettings)
    assert settings.jobs == 4
    with pytest.raises(InputError, match=r"toy.yaml, line \d+: unknown key 'jbos'"):
        load_study(write_study(tmp_path / "toy.yaml", executor={"on": "slurm", "jbos": 4}))
    with pytest.raises(InputError, match="Did you mean 'slurm'"):
        load_study(write_study(tmp_path / "toy.yaml", executor={"on": "slrum"}))


def test_each_kind_of_work_may_ask_for_something_else() -> None:
    settings = SlurmSettings(
        options={"gpus_per_node": 4, "mem_gb": 64}, by_work={"data": {"gpus_per_node": 0}}
    )
    assert settings.options_of(Stage("data", "data")) == {"gpus_per_node": 0, "mem_gb": 64}
    assert settings.options_of(Stage("train/x", "train")) == {"gpus_per_node": 4, "mem_gb": 64}
