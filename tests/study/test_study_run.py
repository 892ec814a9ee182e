import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console
from tests.study.conftest import write_study

from medpref.errors import InputError, RunError
from medpref.evaluation.log import read_log
from medpref.report import write_report
from medpref.study.graph import build_graph
from medpref.study.load import load_study
from medpref.study.run import run_study
from medpref.study.stage import StageContext, stage_folder, stage_functions, stage_keys

QUIET = Console(quiet=True)
METHODS = {"sft", "sft-continued", "dpo", "irpo", "copo", "mdpo", "mmedpo"}
COLUMNS = {
    "backbone",
    "method",
    "seed",
    "task",
    "metric",
    "slice",
    "condition",
    "value",
    "n",
    "ci_low",
    "ci_high",
}


def test_results_have_a_row_with_an_interval_for_every_method_and_task(toy_run: Path) -> None:
    rows = json.loads((toy_run / "results.json").read_text())["rows"]
    assert all(row.keys() >= COLUMNS for row in rows)
    for task, metric in (("phantom-vqa", "accuracy"), ("phantom-caption", "exact_match")):
        for condition in ("normal", "blank"):
            found = {
                row["method"]: row
                for row in rows
                if (row["task"], row["metric"], row["slice"], row["condition"])
                == (task, metric, "all", condition)
            }
            assert set(found) >= METHODS
            for method in METHODS:
                row = found[method]
                assert row["ci_low"] <= row["value"] <= row["ci_high"]
                assert row["n"] > 0


def test_every_sample_is_in_the_log_with_its_prompt_answer_and_score(toy_run: Path) -> None:
    log = read_log(toy_run / "logs/tiny/seed-0/dpo/phantom-vqa.normal.eval.jsonl")
    samples = (toy_run / "stages/data/test.phantom-vqa.jsonl").read_text().splitlines()
    assert len(log.records) == len(samples)
    assert all(record.prompt and record.gold and "accuracy" in record.scores for record in log.records)
    assert all((toy_run / record.images[0]).is_file() for record in log.records)


def test_the_search_spends_the_same_on_every_method_and_chooses_the_best(toy_run: Path) -> None:
    for method in METHODS - {"sft"}:
        search = json.loads((toy_run / f"logs/tiny/seed-0/{method}/search.json").read_text())
        assert search["split"] == "validation"
        assert len(search["candidates"]) == 2
        (chosen,) = [row for row in search["candidates"] if row["chosen"]]
        assert chosen["value"] == max(row["value"] for row in search["candidates"])


def test_training_logs_have_the_names_that_users_expect(toy_run: Path) -> None:
    lines = (toy_run / "logs/tiny/seed-0/mdpo/training.jsonl").read_text().splitlines()
    names = set(json.loads(lines[0]))
    assert {"loss", "logps/chosen", "logps/rejected", "rewards/margins", "rewards/image_margins"} <= names


def test_a_finished_run_is_not_run_again(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a finished stage was run again")

    before = (toy_run / "results.json").read_bytes()
    study = load_study(toy_run.parent / "toy.yaml")
    monkeypatch.setattr("medpref.study.schedule.execute", refuse)
    run_study(study, toy_run, QUIET)
    assert (toy_run / "results.json").read_bytes() == before


@pytest.mark.parametrize(
    ("work", "calls"),
    [("train", 4), ("train", 12), ("evaluate", 20), ("data", 30), ("start", 20), ("reference", 2)],
)
def test_a_run_that_is_stopped_anywhere_goes_on_to_the_same_results(
    toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str, calls: int
) -> None:
    study = load_study(toy_run.parent / "toy.yaml")
    original = stage_functions[work]
    monkeypatch.setitem(stage_functions._entries, work, stop_after(original, calls))
    with pytest.raises(Killed):
        run_study(study, tmp_path, QUIET)
    assert not (tmp_path / "results.json").exists()
    assert list(tmp_path.rglob("*.partial"))
    monkeypatch.setitem(stage_functions._entries, work, original)
    run_study(study, tmp_path, QUIET)
    assert without_folder(tmp_path) == without_folder(toy_run)


class Killed(BaseException):
    """What no handler of ours catches, as a kill would not be."""


def stop_after(work: Callable[[StageContext], None], calls: int) -> Callable[[StageContext], None]:
    left = [calls]

    def stopped(context: StageContext) -> None:
        def advance(amount: int) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            context.advance(amount)

        work(replace(context, advance=advance))

    return stopped


def without_folder(run: Path) -> dict[str, bytes]:
    """Return the results and all logs of a run; a log has nothing that depends on where it lies."""
    names = [path for path in (run / "logs").rglob("*") if path.is_file()]
    return {str(p.relative_to(run)): p.read_bytes() for p in [run / "results.json", *sorted(names)]}


def test_a_changed_method_reruns_only_what_depends_on_it(toy_run: Path) -> None:
    before = load_study(toy_run.parent / "toy.yaml")
    after = load_study(toy_run.parent / "toy.yaml", {"methods.dpo.settings": {"beta": 0.2}})
    old, new = stage_keys(build_graph(before, 1)), stage_keys(build_graph(after, 1))
    changed = {name for name in old if old[name] != new[name]}
    assert changed == {"train/tiny/seed-0/dpo/0", "train/tiny/seed-0/dpo/1", "eval/tiny/seed-0/dpo"}


def test_two_runs_cannot_write_one_folder_at_once(toy_run: Path) -> None:
    study = load_study(toy_run.parent / "toy.yaml")
    with FileLock(toy_run / ".lock"), pytest.raises(RunError, match="another run is writing here"):
        run_study(study, toy_run, QUIET)


def test_a_folder_with_another_study_is_refused(toy_run: Path, tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "other.yaml", study="other"))
    with pytest.raises(InputError, match="holds the study 'toy'"):
        run_study(study, toy_run, QUIET)


def test_a_full_disk_is_named_and_nothing_half_written_counts(
    toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(context: StageContext) -> None:
        (context.folder / "half").write_text("ha")
        raise OSError(28, "No space left on device")

    shutil.copy(toy_run.parent / "toy.yaml", tmp_path / "toy.yaml")
    monkeypatch.setitem(stage_functions._entries, "pairs", full)
    with pytest.raises(RunError, match="the disk is full"):
        run_study(load_study(tmp_path / "toy.yaml"), tmp_path / "run", QUIET)
    assert not list((tmp_path / "run/stages/pairs").glob("*/stage.json"))


def test_an_unforeseen_failure_names_the_stage_and_keeps_the_traceback(
    toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(context: StageContext) -> None:
        raise KeyError("nobody thought of this")

    monkeypatch.setitem(stage_functions._entries, "data", fail)
    with pytest.raises(RunError, match="data: KeyError"):
        run_study(load_study(toy_run.parent / "toy.yaml"), tmp_path, QUIET)
    assert "nobody thought of this" in (tmp_path / "stages/data.partial/error.txt").read_text()


def test_a_pair_that_does_not_fit_is_an_error_or_a_named_skip(toy_run: Path, tmp_path: Path) -> None:
    short = {
        "backbones": [{**json.loads((toy_run / "study.json").read_text())["backbones"][0], "max_length": 40}]
    }
    path = write_study(tmp_path / "short.yaml", **short)
    with pytest.raises(InputError, match=r"pair .*-caption: .* more than the 40 that fit"):
        run_study(load_study(path), tmp_path / "run", QUIET)
    skipping = load_study(
        path, {"on_too_long": "skip", "methods": {}, "controls": ["sft"], "tasks": ["phantom-vqa"]}
    )
    run_study(skipping, tmp_path / "run", QUIET)
    skipped = (stage_folder(tmp_path / "run", "sft/tiny/seed-0") / "too-long.jsonl").read_text().splitlines()
    assert len(skipped) >= 10
    assert all("caption" in json.loads(line)["id"] for line in skipped)


def test_the_report_is_written_from_the_logs_alone(toy_run: Path, tmp_path: Path) -> None:
    for name in ("results.json", "run.json"):
        shutil.copy(toy_run / name, tmp_path / name)
    shutil.copytree(toy_run / "logs", tmp_path / "logs")
    page = write_report(tmp_path)
    assert "SFT" in page.read_text() or "sft" in page.read_text()
