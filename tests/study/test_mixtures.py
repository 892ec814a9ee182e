import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from tests.study.conftest import write_study

from medpref.pairs.pair import ResponseRole
from medpref.pairs.store import read_pairs
from medpref.report import write_report
from medpref.study.graph import build_graph
from medpref.study.load import find_study, load_study
from medpref.study.presets import presets
from medpref.study.run import put_aside, run_study
from medpref.study.spec import StudySpec
from medpref.study.stage import Stage, stage_keys

PLACE = "tiny/seed-0"
ONE_TASK = {"tasks": ["phantom-vqa"], "controls": ["sft"], "conditions": ["normal"], "search": None}


def study(tmp_path: Path, methods: dict[str, Any], **changes: Any) -> StudySpec:
    return load_study(write_study(tmp_path / "study.yaml", **{**ONE_TASK, "methods": methods, **changes}))


def graph(tmp_path: Path, methods: dict[str, Any], **changes: Any) -> dict[str, Stage]:
    return build_graph(study(tmp_path, methods, **changes), 1)


def test_each_part_has_its_pairs_and_reference_and_methods_share_them(tmp_path: Path) -> None:
    stages = graph(tmp_path, {"targeted": None, "targeted-text": None, "targeted-image": None})
    assert {name for name in stages if name.startswith("pairs/")} == {
        "pairs/targeted",
        "pairs/targeted+roi-noise",
    }
    mixture = stages[f"train/{PLACE}/targeted/0"]
    assert {role: need for role, need in mixture.needs.items() if "/" in role} == {
        "pairs/text": "pairs/targeted",
        "reference/text": f"reference/{PLACE}/targeted",
        "pairs/image": "pairs/targeted+roi-noise",
        "reference/image": f"reference/{PLACE}/targeted+roi-noise",
    }
    for part in ("text", "image"):
        alone = stages[f"train/{PLACE}/targeted-{part}/0"]
        assert alone.needs["pairs/pairs"] == mixture.needs[f"pairs/{part}"]
    assert stages[f"eval/{PLACE}/targeted"].params["objective"] == "dpo + copo"


def test_a_reference_has_the_cells_of_all_that_train_on_its_pairs(tmp_path: Path) -> None:
    both = {"rejected_response": "other-answer", "rejected_image": "crop"}
    stages = graph(tmp_path, {"a": {"objective": "dpo", **both}, "b": {"objective": "copo", **both}})
    (reference,) = [stage for stage in stages.values() if stage.work == "reference"]
    assert reference.params["cells"] == ["clean/chosen", "clean/rejected", "rejected/chosen"]


def test_references_of_one_model_follow_each_other_without_depending_on_each_other(tmp_path: Path) -> None:
    few = {"copo-roi": None}
    many = {"copo-crop": None, "copo-noise": None, **few}
    stages = graph(tmp_path, many)
    references = [stage for stage in stages.values() if stage.work == "reference"]
    assert [stage.after for stage in references] == [(), *((stage.name,) for stage in references[:-1])]
    before, after = stage_keys(graph(tmp_path, few)), stage_keys(stages)
    assert all(before[name] == after[name] for name in before)


def test_no_reference_is_made_where_nothing_reads_it(tmp_path: Path) -> None:
    simpo = {"objective": "simpo", "rejected_response": "other-answer"}
    stages = graph(tmp_path, {"simpo": simpo, "sft-continued": {"objective": "sft"}})
    assert not [stage for stage in stages.values() if stage.work == "reference"]


def test_pairs_that_a_model_makes_are_made_for_each_backbone_and_seed(tmp_path: Path) -> None:
    stages = graph(tmp_path, {"dpo-self": None, "copo-roi": None}, seeds=[0, 3])
    made = {name: stage for name, stage in stages.items() if stage.work == "pairs"}
    assert set(made) == {"pairs/tiny/seed-0/self", "pairs/tiny/seed-3/self", "pairs/roi-noise"}
    assert made["pairs/tiny/seed-3/self"].needs["model"] == "sft/tiny/seed-3"
    assert made["pairs/tiny/seed-3/self"].params["seed"] == 3
    assert "model" not in made["pairs/roi-noise"].needs


def test_sets_that_differ_in_a_mapping_alone_are_two_sets(tmp_path: Path) -> None:
    def weighed(share: float) -> dict[str, Any]:
        weight = {"recipe": "by-kind", "kinds": {"side": share}}
        return {"method": "mmedpo", "rejected_response": "other-answer", "weight": weight}

    stages = graph(tmp_path, {"a": weighed(0.1), "b": weighed(0.9), "c": weighed(0.9)})
    assert len([stage for stage in stages.values() if stage.work == "pairs"]) == 2


def test_a_candidate_sets_every_part_that_has_the_setting(tmp_path: Path) -> None:
    parts = {
        "a": {"objective": "irpo", "rejected_response": "other-answer", "settings": {"beta": 0.3}},
        "b": {"objective": "copo", "rejected_image": "crop"},
    }
    search = {"task": "phantom-vqa", "candidates": [{"beta": 0.7}, {"alpha": 0.2, "learning_rate": 0.5}]}
    spec = study(tmp_path, {"mixed": {"parts": parts}}, search=search)
    tried = [spec.resolve("mixed", candidate) for candidate in spec.candidates("mixed")]
    assert tried[0][1] == {"a": {"beta": 0.7, "alpha": 1.0}, "b": {"beta": 0.7}}
    assert tried[1][1] == {"a": {"beta": 0.3, "alpha": 0.2}, "b": {"beta": 0.1}}
    assert tried[1][0].learning_rate == 0.5
    told = build_graph(spec, 1)[f"eval/{PLACE}/mixed"].params["candidates"]
    assert {"a.beta": 0.7, "a.alpha": 1.0, "b.beta": 0.7}.items() <= told[0].items()


@pytest.fixture(scope="module")
def mixed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy study of a mixture, and of pairs that the model makes."""
    folder = tmp_path_factory.mktemp("mixed")
    methods = {
        "targeted": {
            "method": "targeted",
            "parts": {"text": {"share": 2}, "image": {"kinds": ["side", "count"]}},
        },
        "dpo-self": {"rejected_response": {"max_new_tokens": 4}},
    }
    run_study(study(folder, methods), folder / "run", Console(quiet=True))
    return folder / "run"


def test_a_mixture_trains_and_its_parts_are_named_in_the_logs(mixed_run: Path) -> None:
    search = json.loads((mixed_run / f"logs/{PLACE}/targeted/search.json").read_text())
    assert search["objective"] == "dpo + copo"
    assert search["candidates"][0]["tokens"] > 0
    lines = (mixed_run / f"logs/{PLACE}/targeted/training.jsonl").read_text().splitlines()
    names = set().union(*map(json.loads, lines))
    assert {"rewards/margins", "rewards/image_margins"} <= names


def test_the_report_tells_a_mixtures_parts(mixed_run: Path) -> None:
    page = write_report(mixed_run).read_text()
    assert "dpo + copo" in page
    assert "text.share 2" in page
    assert "kinds: side, count" in page
    assert "No pair made" in page


def test_kinds_choose_the_pairs(mixed_run: Path) -> None:
    pairs = read_pairs(
        mixed_run / "stages/pairs/kinds=side,count+targeted+roi-noise/pairs.jsonl", verify_images=False
    ).pairs
    assert {pair.kind for pair in pairs} == {"side", "count"}


def test_what_a_model_was_right_about_is_left_out_counted_and_named(mixed_run: Path) -> None:
    folder = mixed_run / f"stages/pairs/{PLACE}/self-max_new_tokens=4"
    made = read_pairs(folder / "pairs.jsonl", verify_images=False).pairs
    left = [json.loads(line) for line in (folder / "left-out.jsonl").read_text().splitlines()]
    pool = read_pairs(mixed_run / "stages/data/pool.jsonl", verify_images=False).pairs
    assert {pair.id for pair in made} | {row["id"] for row in left} == {pair.id for pair in pool}
    assert len(made) + len(left) == len(pool)
    assert all(pair.responses[ResponseRole.REJECTED] for pair in made)
    counts = json.loads((mixed_run / "logs/data.json").read_text())["left_out"]
    assert sum(n for reason, n in counts.items() if f"pairs/{PLACE}/self" in reason) == len(left)
    told = put_aside(mixed_run)
    assert told is not None
    assert "left-out.jsonl" in told


@pytest.mark.slow
def test_every_preset_runs_from_end_to_end(tmp_path: Path) -> None:
    """The methods of the full phantom study, on a toy's data and for a toy's steps."""
    methods = yaml.safe_load(find_study("phantom-full").read_text())["methods"]
    few = {name: {**(said or {}), "training": {}} for name, said in methods.items()}
    assert {name for name, _ in presets().items()} <= set(few)
    results = run_study(study(tmp_path, few), tmp_path / "run", Console(quiet=True))
    assert {row["method"] for row in results["rows"]} >= {"sft", *few}
    assert write_report(tmp_path / "run").is_file()
