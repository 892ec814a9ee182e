"""Whole stages that other runs have computed."""

import json
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.study.conftest import write_study

from medpref.study.cache import ENTRY, STAGES, StageStore, fetch_stages, keep_stages, layouts
from medpref.study.load import load_study
from medpref.study.run import run_study
from medpref.study.stage import STAMP, Stage, StageContext, stage_folder, stage_functions

FEW: dict[str, Any] = {
    "methods": {"dpo": {"objective": "dpo", "rejected_response": "other-answer"}, "copo-roi": None},
    "controls": ["sft"],
    "search": None,
    "tasks": ["phantom-vqa"],
    "conditions": ["normal", "mirror"],
}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that the kind of each stage that is computed is added to."""
    seen: list[str] = []

    def watched(work: str, function: Callable[[StageContext], None]) -> Callable[[StageContext], None]:
        def run(context: StageContext) -> None:
            seen.append(work)
            function(context)

        return run

    for work, function in list(stage_functions.items()):
        if work != "train-model":
            monkeypatch.setitem(stage_functions._entries, work, watched(work, function))
    return seen


def contents(run: Path) -> dict[str, bytes]:
    """Return all logs of a run but for the study's name."""
    files = sorted(path for path in (run / "logs").rglob("*") if path.is_file())
    return {
        str(path.relative_to(run)): path.read_bytes().replace(b'"study": "other"', b'"study": "toy"')
        for path in files
    }


def test_nothing_is_computed_twice_across_studies(tmp_path: Path, ran: list[str]) -> None:
    cache, quiet = tmp_path / "cache", Console(quiet=True)
    run_study(load_study(write_study(tmp_path / "a.yaml", **FEW)), tmp_path / "a", quiet, cache)
    first = contents(tmp_path / "a")
    # Nothing of the first run is needed any more, its images included.
    shutil.rmtree(tmp_path / "a")
    ran.clear()
    more = {**FEW["methods"], "sft-continued": {"objective": "sft"}}
    changed = {**FEW, "study": "other", "methods": more, "title": "Another"}
    run_study(load_study(write_study(tmp_path / "b.yaml", **changed)), tmp_path / "b", quiet, cache)
    # Its pairs are the data's own: a set that the first study had no use for.
    assert sorted(ran) == ["evaluate", "pairs", "train"]
    second = contents(tmp_path / "b")
    # These two tell of the whole study.
    told = ("logs/data.json", "logs/manifest.json")
    assert all(second[name] == content for name, content in first.items() if name not in told)
    log = (tmp_path / "b/logs/tiny/seed-0/dpo/phantom-vqa.mirror.eval.jsonl").read_text().splitlines()
    assert json.loads(log[0])["study"] == "other"
    assert all((tmp_path / "b" / json.loads(line)["images"][0]).is_file() for line in log[1:])


def test_a_damaged_stage_is_named_and_computed_again(tmp_path: Path, ran: list[str]) -> None:
    cache, said = tmp_path / "cache", StringIO()
    study = load_study(write_study(tmp_path / "a.yaml", **{**FEW, "methods": {}, "conditions": ["normal"]}))
    run_study(study, tmp_path / "a", Console(quiet=True), cache)
    expected = contents(tmp_path / "a")
    (weights,) = [p for p in (cache / STAGES).rglob("model.safetensors") if "sft" in entry_of(p)["stage"]]
    content = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    ran.clear()
    run_study(study, tmp_path / "b", Console(file=said, width=500), cache)
    assert ran == ["train"]
    assert "sft/tiny/seed-0 is computed again, as its files in the cache are damaged" in said.getvalue()
    assert contents(tmp_path / "b") == expected


def entry_of(path: Path) -> dict[str, Any]:
    folder = next(parent for parent in path.parents if (parent / ENTRY).is_file())
    found: dict[str, Any] = json.loads((folder / ENTRY).read_text())
    return found


def made_stage(run: Path, name: str, text: str = "result") -> None:
    folder = stage_folder(run, name)
    folder.mkdir(parents=True)
    (folder / "result.txt").write_text(text)
    (folder / STAMP).write_text(json.dumps({"key": "k", "work": "w", "seconds": 1.0}))


def test_a_kept_stage_survives_what_its_run_does_later(tmp_path: Path) -> None:
    store = StageStore(tmp_path / "cache")
    made_stage(tmp_path / "a", "train/x")
    store.keep("train/x", "k", "l", tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    assert store.fetch("train/x", "k", "l", tmp_path / "b") == "reused"
    assert (stage_folder(tmp_path / "b", "train/x") / "result.txt").read_text() == "result"
    assert store.fetch("train/x", "k", "another layout", tmp_path / "b") == "absent"


def test_what_was_done_before_there_was_a_cache_is_kept_too(tmp_path: Path) -> None:
    made_stage(tmp_path / "a", "data")
    store, stages = StageStore(tmp_path / "cache"), {"data": Stage("data", "w")}
    keep_stages(store, stages, {"data": "k"}, tmp_path / "a")
    assert fetch_stages(store, stages, {"data": "k"}, tmp_path / "b") == {"data": "reused"}
    assert fetch_stages(store, stages, {"data": "k"}, tmp_path / "a") == {}


def test_a_stage_that_another_run_is_at_is_not_waited_for_at_the_beginning(tmp_path: Path) -> None:
    store, stages = StageStore(tmp_path / "cache"), {"data": Stage("data", "w")}
    with StageStore(tmp_path / "cache").only_one("k", layouts(stages)["data"]):
        assert fetch_stages(store, stages, {"data": "k"}, tmp_path / "b") == {"data": "absent"}


def test_half_an_entry_does_not_count(tmp_path: Path) -> None:
    store = StageStore(tmp_path / "cache")
    made_stage(tmp_path / "a", "train/x")
    store.keep("train/x", "k", "l", tmp_path / "a")
    (entry,) = (tmp_path / "cache").rglob(ENTRY)
    (entry.parent / "stage" / "result.txt").unlink()
    assert store.fetch("train/x", "k", "l", tmp_path / "b") == "damaged"
    assert not stage_folder(tmp_path / "b", "train/x").exists()
    assert store.fetch("train/x", "k", "l", tmp_path / "b") == "absent"


def test_a_layout_tells_the_names_of_all_before() -> None:
    def of(name: str) -> str:
        stages = {
            name: Stage(name, "data"),
            "pairs": Stage("pairs", "pairs", needs={"data": name}),
            "eval": Stage("eval", "evaluate", needs={"pairs": "pairs"}),
        }
        return layouts(stages)["eval"]

    assert of("data") != of("data/other")
