"""What a plan says of disks, GPUs, judges, and of what is not there."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.study.conftest import write_study

from medpref.errors import InputError
from medpref.pairs.llm.settings import Prices
from medpref.study.dry.costs import StudyPlan
from medpref.study.dry.judging import JudgePlan
from medpref.study.dry.missing import missing
from medpref.study.dry.resources import PEAKS, Disk, gpu_hours
from medpref.study.dry.table import print_missing, print_plan
from medpref.study.graph import build_graph
from medpref.study.load import bundled_studies, load_study
from medpref.study.plan import plan_study

JUDGE = {
    "judge": "openai",
    "endpoint": "http://127.0.0.1:9/v1",
    "model": "judge",
    "key_variable": "MEDPREF_TEST_KEY",
    "prices": {"input": 2.0, "output": 10.0, "currency": "EUR"},
}
SMALL: dict[str, Any] = {
    "methods": {"dpo": {"objective": "dpo", "rejected_response": "other-answer"}},
    "controls": ["sft"],
    "conditions": ["normal", "blank"],
    "reports": {"judge": JUDGE},
}


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> StudyPlan:
    path = write_study(tmp_path_factory.mktemp("plan") / "toy.yaml", **SMALL)
    return plan_study(load_study(path))


def test_every_model_that_is_kept_takes_its_weights(planned: StudyPlan) -> None:
    weights = planned.stages[0].memory.weights
    # A start, the SFT model, and two candidates of dpo.
    assert planned.disk is not None
    assert planned.disk.models == pytest.approx(4 * weights)
    trained = next(stage for stage in planned.stages if stage.work == "train")
    # One training at a time; its next checkpoint is written before the last goes.
    assert planned.disk.checkpoints == pytest.approx(2 * (weights + trained.memory.optimizer))
    assert planned.disk.total == planned.disk.models + planned.disk.checkpoints


def test_a_judge_is_asked_in_both_directions_for_each_report(planned: StudyPlan) -> None:
    (judged,) = planned.judging
    # 8 captions × 2 conditions × 2 models × 2 directions.
    assert judged.requests == pytest.approx(8 * 2 * 2 * 2)
    assert judged.cost == pytest.approx((judged.prompt_tokens * 2 + judged.written * 10) / 1e6, rel=1e-3)
    assert planned.to_json()["judging"][0]["cost"] == judged.cost


def test_a_judge_on_this_machine_asks_nobody(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "toy.yaml", **{**SMALL, "reports": {"judge": "rules"}}))
    assert plan_study(study).judging == ()


def test_gpu_hours_are_flops_by_the_share_of_the_peak() -> None:
    assert gpu_hours(PEAKS["A100"] * 0.5 * 7200, "A100", 0.5) == pytest.approx(2.0)
    with pytest.raises(InputError, match="'H100'"):
        gpu_hours(1.0, "H10")


def test_the_table_tells_them() -> None:
    plan = StudyPlan(
        "s", (), (), Disk(2e9, 1e9), (JudgePlan("facts t", 10, 1e6, 1e5, Prices(input=1, output=2)),)
    )
    file = StringIO()
    print_plan(plan, Console(file=file, width=200), "H100", 0.4)
    told = file.getvalue()
    assert "2.00GB of models, and up to 1.00GB of checkpoints" in told
    assert "of one H100 at 40% of its peak" in told
    assert "facts t: 10 requests, 1.00M tokens read and 100k written: about 1.2 USD" in told


def test_what_is_not_there_is_named_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDPREF_TEST_KEY", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    changes = {
        **SMALL,
        "backbones": [{"name": "big", "family": "pretrained", "path": str(tmp_path / "no-model")}],
        "launch": {"config": str(tmp_path / "zero.yaml")},
        "executor": {"on": "slurm"},
    }
    (tmp_path / "zero.yaml").write_text("distributed_type: DEEPSPEED\n")
    monkeypatch.setattr("medpref.study.dry.missing.find_spec", lambda name: None)
    study = load_study(write_study(tmp_path / "toy.yaml", **changes))
    found = {thing.wanted: thing for thing in missing(study)}
    assert {key: thing.what for key, thing in found.items() if key != "executor.on"} == {
        "backbones.big.path": str(tmp_path / "no-model"),
        "launch.config": "the package deepspeed",
        "reports.judge.key_variable": "the variable MEDPREF_TEST_KEY",
    }
    assert {thing.what for thing in missing(study) if thing.wanted == "executor.on"} == {
        "the package submitit",
        "the command sbatch",
    }
    assert [key for key, thing in found.items() if thing.vital] == ["backbones.big.path"]


def test_nothing_is_missing_of_a_study_that_makes_everything(tmp_path: Path) -> None:
    study = load_study(bundled_studies()["phantom"])
    assert missing(study) == []
    file = StringIO()
    print_missing([], Console(file=file))
    assert "Nothing is missing" in file.getvalue()


def test_all_paths_of_the_paper_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = load_study(bundled_studies()["paper"])
    vital = {thing.wanted for thing in missing(study) if thing.vital}
    assert vital >= {f"data.sets.{name}.folder" for name in ("vqa-rad", "slake", "path-vqa", "pubmedvision")}
    assert vital >= {"data.sets.llava-med-instruct.pairs", "backbones.huatuogpt-vision.path"}
    assert vital >= {"data.sets.amboss.test", "data.sets.mimic-cxr.images"}
    # Its graph is there all the same, before any file is.
    assert "train/llava-med/seed-0/mmedpo/0" in build_graph(study, 1)
