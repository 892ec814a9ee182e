"""Searching with some seeds, data drawn for each seed, and methods that begin with others' models."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.study.conftest import toy, write_study

from medpref.errors import InputError
from medpref.files import read_json, read_jsonl
from medpref.study.graph import build_graph
from medpref.study.load import load_study
from medpref.study.plan import plan_study
from medpref.study.run import run_study
from medpref.study.spec import StudySpec
from medpref.study.stage import stage_keys

METHODS: dict[str, Any] = {
    "sft-continued": {"objective": "sft"},
    "first": {"objective": "dpo", "rejected_response": {"recipe": "self", "max_new_tokens": 8}},
    "second": {
        "objective": "dpo",
        "rejected_response": {"recipe": "self", "max_new_tokens": 8},
        "after": "first",
    },
}
CHANGES: dict[str, Any] = {
    "data": {**toy()["data"], "per_seed": True},
    "methods": METHODS,
    "seeds": [3, 4],
    "search": {**toy()["search"], "seeds": [4]},
    "conditions": ["normal"],
    "tasks": ["phantom-vqa"],
}


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rounds")
    run_study(load_study(write_study(folder / "s.yaml", **CHANGES)), folder / "run", Console(quiet=True))
    return folder / "run"


def test_only_the_searched_seed_tries_all(rounds: Path) -> None:
    trained = {p.parent.name for p in (rounds / "stages/train/tiny/seed-4/first").glob("*/stage.json")}
    assert trained == {"0", "1"}
    trained = {p.parent.name for p in (rounds / "stages/train/tiny/seed-3/first").glob("*/stage.json")}
    assert trained == {"chosen"}
    assert not (rounds / "stages/train/tiny/seed-3/first/chosen/validation.json").exists()


def test_the_other_seed_takes_what_scored_best_there(rounds: Path) -> None:
    for method in METHODS:
        searched = read_json(rounds / f"logs/tiny/seed-4/{method}/search.json")
        best = max(searched["candidates"], key=lambda c: c["value"])
        (chosen,) = [c for c in searched["candidates"] if c["chosen"]]
        assert chosen["value"] == best["value"]
        taken = read_json(rounds / f"logs/tiny/seed-3/{method}/search.json")
        assert taken["task"] is None
        (only,) = taken["candidates"]
        assert only["settings"]["learning_rate"] == chosen["settings"]["learning_rate"]
        log = [row for _, row in read_jsonl(rounds / f"logs/tiny/seed-3/{method}/training.jsonl")]
        assert log


def test_each_seed_has_data_of_its_own_but_one_test(rounds: Path) -> None:
    first, second = (rounds / f"stages/data/seed-{seed}" for seed in (3, 4))
    for split, same in (("train", False), ("pool", False), ("validation", False), ("test", True)):
        image = f"images/{split}/{split}-00000.png"
        assert ((first / image).read_bytes() == (second / image).read_bytes()) is same
    notes = read_json(rounds / "logs/data.json")["notes"]
    assert any("drawn anew for each of 2 seeds" in note for note in notes)


def test_a_later_round_begins_with_the_chosen_model(rounds: Path) -> None:
    stages = build_graph(load_study(rounds.parent / "s.yaml"), threads=1)
    for seed in (3, 4):
        second = next(s for n, s in stages.items() if n.startswith(f"train/tiny/seed-{seed}/second"))
        kept = f"chosen/tiny/seed-{seed}/first"
        assert second.needs["model"] == kept
        assert stages[second.needs["pairs/pairs"]].needs["model"] == kept
        assert stages[second.needs["reference/pairs"]].needs["model"] == kept
        chosen = read_json(rounds / "stages/choice/tiny/first/choice.json")["number"]
        trained = rounds / f"stages/train/tiny/seed-{seed}/first/{'chosen' if seed == 3 else chosen}"
        assert read_json(rounds / f"stages/{kept}/model.json") == read_json(trained / "model.json")
    # At the first step the policy is the reference: the margin is 0, as it would not be from the SFT model.
    rows = [row for _, row in read_jsonl(rounds / "logs/tiny/seed-4/second/training.jsonl")]
    assert rows[0]["rewards/margins"] == pytest.approx(0, abs=0.05)


def test_stages_come_after_what_they_need() -> None:
    study = load_study_of(**CHANGES)
    seen: set[str] = set()
    for name, stage in build_graph(study, threads=1).items():
        assert stage.before() <= seen
        seen.add(name)


def load_study_of(**changes: Any) -> StudySpec:
    return StudySpec.model_validate(toy(**changes))


def test_another_learning_rate_reruns_only_what_hangs_on_it() -> None:
    before = stage_keys(build_graph(load_study_of(**CHANGES), threads=1))
    methods = {**METHODS, "first": {**METHODS["first"], "training": {"weight_decay": 0.5}}}
    after = stage_keys(build_graph(load_study_of(**{**CHANGES, "methods": methods}), threads=1))
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert any(name.endswith("/second") for name in changed)
    assert not any("sft" in name or name.startswith("data") for name in changed)


def test_a_plan_counts_the_runs_of_all_seeds() -> None:
    plan = plan_study(load_study_of(**CHANGES), sample=4, laid_out=2)
    runs = {stage.name: stage.runs for stage in plan.stages if stage.work == "train"}
    # Two candidates with the searched seed and what they chose with the other.
    assert runs["sft-continued"] == runs["first"] == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": {"a": {"objective": "sft", "after": "b"}}}, "no method of this study"),
        (
            {
                "methods": {
                    "a": {"objective": "sft", "after": "b"},
                    "b": {"objective": "sft", "after": "a"},
                }
            },
            "begin with each other's models",
        ),
        ({"search": {**toy()["search"], "seeds": [9]}}, "9 is no seed"),
        (
            {"data": {"source": "vqa-rad", "folder": "x", "per_seed": True}, "tasks": ["vqa-rad"]},
            "cannot be drawn anew",
        ),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_study_of(**{"methods": {"sft-continued": {"objective": "sft"}}, "controls": ["sft"], **changes})
