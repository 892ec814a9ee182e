"""Pair files from a source, step by step: the same bytes again, and only what has changed done again."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from tests.study.conftest import write_study

from medpref.cli import main
from medpref.errors import InputError
from medpref.files import read_json
from medpref.pairs.pair import ImageRole, ResponseRole
from medpref.pairs.store import read_pairs
from medpref.study.build import BuildSpec, build_pairs, builds_of
from medpref.study.load import bundled_builds, find_build, load_spec, load_study
from medpref.study.stage import stage_functions

QUIET = Console(quiet=True)
CHAIN: dict[str, Any] = {
    "build": "toy",
    "data": {"source": "phantoms", "size": 32, "train": 12, "pool": 12, "validation": 2, "test": 2},
    "rejected_response": "other-answer",
    "rejected_image": {"recipe": "noise", "step": 300},
    "weight": {"recipe": "by-kind", "kinds": {"presence": 1.0}},
    "filters": ["differing"],
}


def build(folder: Path, **changes: Any) -> dict[str, Any]:
    said = {key: value for key, value in {**CHAIN, **changes}.items() if value is not None}
    return build_pairs(BuildSpec.model_validate(said), folder, QUIET)


def content(folder: Path) -> dict[str, bytes]:
    """Return what a build gives: its files and the images that its pairs show."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ((path.parent == folder and path.suffix == ".jsonl") or path.suffix == ".png")
    }


def test_a_chain_makes_whole_pairs_with_their_provenance(tmp_path: Path) -> None:
    about = build(tmp_path)
    file = read_pairs(tmp_path / "pairs.jsonl")
    assert not file.quarantined
    assert about["pairs"]["4-differing"] == len(file.pairs) > 10
    for pair in file.pairs:
        assert set(pair.responses) == set(ResponseRole)
        assert set(pair.images) == set(ImageRole)
        assert pair.provenance.recipe == "other-answer + noise + by-kind (standardise)"
        assert pair.weight is not None
    assert read_json(tmp_path / "build.json") == about


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    build(tmp_path / "a")
    build(tmp_path / "b", workers=2)
    first = content(tmp_path / "a")
    assert first == content(tmp_path / "b")
    build(tmp_path / "c", seed=1)
    assert first["pairs.jsonl"] != content(tmp_path / "c")["pairs.jsonl"]


def test_a_killed_build_goes_on_and_a_changed_setting_redoes_what_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "whole")
    step, ran = stage_functions["step"], []

    class Killed(BaseException):
        pass

    def noted(context) -> None:
        name = context.params["recipe"] and context.params["recipe"]["name"]
        if name == "noise" and not ran.count("noise"):
            ran.append(name)
            raise Killed
        ran.append(name)
        step(context)

    monkeypatch.setitem(stage_functions._entries, "step", noted)
    with pytest.raises(Killed):
        build(tmp_path / "killed")
    assert not (tmp_path / "killed" / "pairs.jsonl").exists()
    build(tmp_path / "killed")
    assert ran == [None, "other-answer", "noise", "noise", "by-kind", "differing"]
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    ran.clear()
    build(tmp_path / "killed")
    assert not ran
    build(tmp_path / "killed", weight={"recipe": "by-kind", "kinds": {"presence": 0.1}})
    assert ran == ["by-kind", "differing"]


def test_what_recipes_leave_out_is_counted_and_named(tmp_path: Path) -> None:
    about = build(tmp_path, rejected_response={"recipe": "targeted", "kinds": ["presence"]})
    rows = [json.loads(line) for line in (tmp_path / "left-out.jsonl").read_text().splitlines()]
    assert len(rows) == sum(about["left_out"].values()) > 0
    assert about["pairs"]["0-pairs"] == about["pairs"]["1-targeted"] + len(rows)
    assert all(row["recipe"] == "targeted" and row["reason"] and row["id"] for row in rows)


def test_the_supervised_pairs_may_be_taken(tmp_path: Path) -> None:
    assert build(tmp_path, part="train")["pairs"] != build(tmp_path / "pool")["pairs"]


def test_a_model_can_be_asked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the recipe self asks a model"):
        build(tmp_path, rejected_response="self")
    tiny = {"family": "tiny-llava", "image_size": 32, "width": 16, "heads": 2, "key_value_heads": 1}
    made = build(
        tmp_path / "asked",
        rejected_response={"recipe": "self", "samples": 1, "max_new_tokens": 3},
        model={**tiny, "vision_layers": 1, "text_layers": 1},
    )
    assert made["pairs"]["1-self"] > 0


def test_a_study_s_methods_are_built_where_no_model_is_asked(tmp_path: Path) -> None:
    methods = {"dpo": {"objective": "dpo", "rejected_response": "other-answer"}, "dpo-self": None}
    study = write_study(tmp_path / "study.yaml", methods=methods, controls=["sft"])
    found = dict(builds_of(load_study(study)))
    assert found["dpo-self"] is None
    assert found["dpo"] is not None
    about = build_pairs(found["dpo"], tmp_path / "dpo", QUIET)
    assert about["pairs"]["1-other-answer"] == about["pairs"]["0-pairs"]


def test_bundled_builds_are_sound(tmp_path: Path) -> None:
    specs = {name: load_spec(path, BuildSpec) for name, path in bundled_builds().items()}
    assert {name: spec.build for name, spec in specs.items()} == {name: name for name in specs}
    assert {"phantoms-targeted", "vqa-rad-targeted"} <= set(specs)
    small = {"data.train": 2, "data.pool": 80, "data.validation": 1, "data.test": 1, "data.size": 32}
    spec = load_spec(find_build("phantoms-targeted"), BuildSpec, small)
    about = build_pairs(spec, tmp_path, QUIET)
    pairs = read_pairs(tmp_path / "pairs.jsonl").pairs
    assert {"caption", "side"} <= {pair.kind for pair in pairs}
    assert sum(about["left_out"].values()) == about["pairs"]["0-pairs"] - len(pairs)
    # What a recipe tells of its work is not buried in a stage's folder.
    assert about["reports"]["leak"]["pairs"] == len(pairs)


def test_an_unknown_build_suggests_a_bundled_one() -> None:
    with pytest.raises(InputError, match="'phantoms-targeted'"):
        find_build("phantom-targeted")


def test_unknown_keys_and_filters_are_named(tmp_path: Path) -> None:
    path = tmp_path / "chain.yaml"
    path.write_text(yaml.safe_dump({**CHAIN, "rejected_respons": "self"}))
    with pytest.raises(InputError, match="rejected_respons") as caught:
        load_spec(path, BuildSpec)
    assert "rejected_response" in str(caught.value)
    path.write_text(yaml.safe_dump({**CHAIN, "filters": ["difering"]}))
    with pytest.raises(InputError, match="there is no filter called 'difering'"):
        load_spec(path, BuildSpec)


def test_the_command_builds_and_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "chain.yaml"
    path.write_text(
        yaml.safe_dump({**CHAIN, "rejected_response": {"recipe": "targeted", "kinds": ["presence"]}})
    )
    arguments = ["medpref", "build", str(path), "--out", str(tmp_path / "out"), "--set", "seed=3"]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    told = capsys.readouterr().out
    assert "left out: targeted: the answer states no fact of the kinds" in told
    assert read_json(tmp_path / "out" / "build.json")["build"]["seed"] == 3
