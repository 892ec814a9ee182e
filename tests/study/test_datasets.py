"""A study of several data sets: who learns from what, what is asked, and what runs again."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from medpref.errors import InputError
from medpref.evaluation.log import read_log
from medpref.study.graph import build_graph
from medpref.study.load import bundled_studies, load_study
from medpref.study.run import run_study
from medpref.study.stage import stage_folder, stage_keys

SMALL = {"family": "tiny-llava", "image_size": 32, "width": 32, "heads": 2, "key_value_heads": 1}
SMALL |= {"vision_layers": 1, "text_layers": 1, "max_length": 256}
DRAWN = {"source": "replica", "train": 6, "pool": 6, "validation": 2, "test": 3, "size": 32}


def several(**changes: Any) -> dict[str, Any]:
    """Return a study of two backbones that learn from a set each, and are asked two."""
    study: dict[str, Any] = {
        "study": "several",
        "data": {
            "sets": {
                "one": {**DRAWN, "of": "llava-med", "seed": 1, "use": ["train", "pool"], "backbones": ["a"]},
                "two": {
                    **DRAWN,
                    "of": "pubmedvision",
                    "seed": 2,
                    "use": ["train", "pool"],
                    "backbones": ["b"],
                },
                "slake": {**DRAWN, "of": "slake", "seed": 3, "use": ["validation", "test"]},
                "mimic": {**DRAWN, "of": "mimic-cxr", "seed": 4, "use": ["test"]},
            }
        },
        "backbones": [{"name": "a", **SMALL}, {"name": "b", "text": "qwen2", **SMALL}],
        "base": True,
        "sft": {"epochs": 1, "images_per_step": 4},
        "training": {"epochs": 0.5, "images_per_step": 4},
        "methods": {"sft-continued": {"objective": "sft"}, "dpo-llm": None, "mmedpo": None},
        "controls": ["sft", "sft-continued"],
        "tasks": ["slake", "mimic-cxr"],
        "reports": {"judge": "rules"},
        "conditions": ["normal"],
        "likelihood": False,
        "on_too_long": "skip",
        "workers": 1,
        "threads": 1,
    }
    return {**study, **changes}


def write(path: Path, **changes: Any) -> Path:
    path.write_text(yaml.safe_dump(several(**changes), sort_keys=False))
    return path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    run_study(load_study(write(folder / "several.yaml")), folder / "run", Console(quiet=True))
    return folder / "run"


def test_each_backbone_learns_from_its_sets_and_is_asked_all(ran: Path) -> None:
    for backbone, own in (("a", "one"), ("b", "two")):
        pairs = [
            json.loads(line)["id"]
            for path in (ran / "stages/pairs" / backbone).rglob("pairs.jsonl")
            for line in path.read_text().splitlines()
        ]
        assert pairs
        assert all(ident.startswith(f"{own}/") for ident in pairs)
        for method in ("base", "sft", "sft-continued", "dpo-llm", "mmedpo"):
            for task in ("slake", "mimic-cxr"):
                log = read_log(ran / f"logs/{backbone}/seed-0/{method}/{task}.normal.eval.jsonl")
                assert log.records
                assert log.header.study == "several"


def test_the_backbone_before_sft_is_a_row_and_no_contender(ran: Path) -> None:
    results = json.loads((ran / "results.json").read_text())
    assert "base" in {row["method"] for row in results["rows"]}
    assert "base" not in {row["method"] for row in results["comparisons"]}
    assert "base" not in {row["first"] for row in results["pairs"]} | {
        row["second"] for row in results["pairs"]
    }
    weights = {
        method: read_log(ran / f"logs/a/seed-0/{method}/slake.normal.eval.jsonl").header.model
        for method in ("base", "sft")
    }
    assert len(set(weights.values())) == 2
    assert not (ran / "logs/a/seed-0/base/training.jsonl").exists()


def test_reports_are_judged_by_rules_and_questions_are_not(ran: Path) -> None:
    rows = json.loads((ran / "results.json").read_text())["rows"]
    judged = {row["task"] for row in rows if row["metric"] == "fact_f1"}
    assert judged == {"mimic-cxr"}


def test_what_is_told_of_the_data_counts_what_is_used(ran: Path) -> None:
    facts = json.loads((ran / "logs/data.json").read_text())
    assert {"one: train", "one: pool", "slake: test/slake", "mimic: test/mimic-cxr"} <= set(facts["counts"])
    assert not [name for name in facts["counts"] if name.startswith(("slake: train", "slake: pool"))]
    assert facts["leakage"] == {"test_images": 6, "also_in_train": 0}


def test_epochs_are_passes_over_all_groups(ran: Path) -> None:
    train = (ran / "stages/data/one/train.jsonl").read_text().splitlines()
    images = [json.loads(line)["images"]["clean"][0] for line in train]
    groups = sum(-(-images.count(image) // 4) for image in set(images))
    log = (stage_folder(ran, "sft/a/seed-0") / "training.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["step"] == -(-groups // 4)


def test_a_changed_test_set_asks_anew_and_trains_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "several.yaml")
    assert changed(path, "data.sets.mimic.test", 4) == {
        "data/mimic",
        "leakage",
        "eval/baselines",
        *(
            f"eval/{name}/seed-0/{method}"
            for name in "ab"
            for method in ("base", "sft", *several()["methods"])
        ),
    }


def test_a_changed_training_set_leaves_the_other_backbone_alone(tmp_path: Path) -> None:
    found = changed(write(tmp_path / "several.yaml"), "data.sets.one.train", 7)
    assert {"data/one", "start/a/seed-0", "eval/a/seed-0/dpo-llm"} <= found
    assert not [name for name in found if "/b/" in name]


def changed(path: Path, key: str, value: Any) -> set[str]:
    """Return the stages that a changed setting runs again."""
    old, new = (stage_keys(build_graph(load_study(path, said), 1)) for said in ({}, {key: value}))
    assert old.keys() == new.keys()
    return {name for name in old if old[name] != new[name]}


def test_a_method_of_the_paper_can_change_alone() -> None:
    path = bundled_studies()["paper-toy"]
    assert changed(path, "methods.irpo.training", {"learning_rate": 3e-4}) == {
        f"{work}/{backbone}/seed-0/irpo{end}"
        for backbone in ("llava-med", "huatuogpt-vision")
        for work, end in (("train", "/0"), ("eval", ""))
    }


def test_the_paper_and_its_small_twin_have_one_shape() -> None:
    whole, small = (load_study(bundled_studies()[name]) for name in ("paper", "paper-toy"))
    assert list(whole.methods) == list(small.methods)
    assert len(whole.methods) == 13
    assert whole.tasks == small.tasks
    assert [spec.name for spec in whole.backbones] == [spec.name for spec in small.backbones]
    assert [spec.use for spec in whole.data.sets.values()] == [spec.use for spec in small.data.sets.values()]
    assert list(whole.data.sets) == list(small.data.sets)
    imitated = {name: spec.settings["of"] for name, spec in small.data.sets.items()}
    assert {n: s.source for n, s in whole.data.sets.items()} == {
        name: {"amboss": "release", "mimic-cxr": "release"}.get(of, of) for name, of in imitated.items()
    }
    place = "eval/llava-med/seed-0"
    graph = build_graph(whole, 1)
    assert {f"{place}/{name}" for name in ("base", "sft", *whole.methods)} <= graph.keys()
    settings = graph["train/llava-med/seed-0/irpo/0"].params["training"]
    assert (settings["learning_rate"], settings["epochs"], settings["images_per_step"]) == (1e-7, 3, 16)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.sets.one.backbones", ["c"], "'c' is no backbone of this study"),
        ("data.sets.two.use", ["pool"], "no set trains the backbone 'b'"),
        ("data.sets.one.prioor", 0.5, "unknown key"),
        ("data.source", "phantoms", "one source, or several sets"),
        ("tasks", ["iu-xray"], "these sets have no task 'iu-xray'"),
        ("methods.base", {"objective": "sft"}, "a method cannot be called 'base'"),
        ("sft", {"epochs": 1, "tokens_per_step": 100}, "epochs are counted in groups"),
    ],
)
def test_sets_that_make_no_sense_are_refused(tmp_path: Path, key: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_study(write(tmp_path / "several.yaml"), {key: value})


def test_one_task_of_two_sets_is_refused(tmp_path: Path) -> None:
    both = {**several()["data"]["sets"]["slake"], "seed": 9}
    path = write(tmp_path / "several.yaml", methods={}, controls=["sft"])
    study = load_study(path, {"data.sets.more": both})
    with pytest.raises(InputError, match="the sets slake and more both have train samples of the task slake"):
        run_study(study, tmp_path / "run", Console(quiet=True))


@pytest.mark.slow
def test_the_small_twin_of_the_paper_runs_from_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "medpref", "run", "paper-toy", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr.decode()
    rows = json.loads((tmp_path / "run/results.json").read_text())["rows"]
    study = load_study(bundled_studies()["paper-toy"])
    for spec in study.backbones:
        own = [row for row in rows if row["backbone"] == spec.name]
        found = {(row["method"], row["task"]) for row in own if row["condition"] == "normal"}
        assert found >= {(m, t) for m in ("base", "sft", *study.methods) for t in study.tasks}
    judged = {row["task"] for row in rows if row["metric"] == "fact_f1" and row["n"] > 0}
    assert judged == {"amboss", "mimic-cxr"}
