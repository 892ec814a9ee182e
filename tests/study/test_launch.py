"""Trainings of a study in several processes, as an accelerate configuration says."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.study.conftest import write_study

from medpref.errors import InputError, RunError
from medpref.files import read_json, read_jsonl
from medpref.study.launch import launch
from medpref.study.load import load_study
from medpref.study.run import run_study
from medpref.study.stage import StageContext, stage_functions

DDP = Path(__file__).parents[2] / "configs" / "ddp.yaml"
SMALL: dict[str, Any] = {
    "methods": {"dpo": {"objective": "dpo", "rejected_response": "other-answer"}},
    "controls": ["sft"],
    "search": None,
    "tasks": ["phantom-vqa"],
    "conditions": ["normal"],
}


def run(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    study = load_study(write_study(folder / "toy.yaml", **SMALL, **changes))
    run_study(study, folder / "run", Console(quiet=True))
    return folder / "run" / "stages"


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    alone = run(tmp_path / "alone")
    both = run(tmp_path / "both", launch={"config": str(DDP), "processes": 2})
    for stage in ("sft/tiny/seed-0", "train/tiny/seed-0/dpo/0"):
        assert (both / stage / "launch.log").is_file()
        assert not (alone / stage / "launch.log").exists()
        one, two = ([row for _, row in read_jsonl(f / stage / "training.jsonl")] for f in (alone, both))
        assert len(one) == len(two) > 1
        for row, other in zip(one, two, strict=True):
            for name in ("loss", "nll_loss", "logps/chosen"):
                assert other[name] == pytest.approx(row[name], rel=1e-3, abs=1e-3), name
        processes = [read_json(folder / stage / "trained.json")["processes"] for folder in (alone, both)]
        assert processes == [1, 2]


def context(folder: Path, done: list[int]) -> StageContext:
    return StageContext(folder, {}, {}, folder, folder, done.append, done.append)


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such accelerate configuration") as caught:
        launch(context(tmp_path, []), "train-model", tmp_path / "none.yaml", 2)
    assert caught.value.where == str(tmp_path / "none.yaml")


@pytest.mark.slow
def test_what_a_process_said_last_is_told(tmp_path: Path) -> None:
    assert "train-model" in stage_functions
    with pytest.raises(RunError, match="KeyError: 'training'") as caught:
        launch(context(tmp_path, []), "train-model", DDP, 2)
    assert str(tmp_path / "launch.log") in str(caught.value.remedy)
