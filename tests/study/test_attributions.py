"""A study that looks at the gradient inside of lesions."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from tests.study.conftest import write_study

from medpref.errors import InputError
from medpref.evaluation.log import read_log
from medpref.study.graph import build_graph
from medpref.study.load import load_study
from medpref.study.run import run_study

CHANGES = {
    "methods": {},
    "controls": ["sft"],
    "search": None,
    "tasks": ["phantom-vqa"],
    "conditions": ["normal", "blank"],
}


def test_logs_and_results_have_the_mass_in_the_lesion(tmp_path: Path) -> None:
    study = write_study(tmp_path / "toy.yaml", attribution={"samples": 10}, **CHANGES)
    run_study(load_study(study), tmp_path / "run", Console(quiet=True))
    logs = tmp_path / "run/logs/tiny/seed-0/sft"
    seen = [r for r in read_log(logs / "phantom-vqa.normal.eval.jsonl").records if "region_mass" in r.scores]
    assert len(seen) == 10
    for record in seen:
        assert record.region
        assert 0 < record.scores["region_mass"] < 1
        assert 0 < record.scores["region_area"] < 0.5
    blank = read_log(logs / "phantom-vqa.blank.eval.jsonl").records
    assert not any("region_mass" in record.scores for record in blank)
    rows = json.loads((tmp_path / "run/results.json").read_text())["rows"]
    (row,) = [row for row in rows if (row["metric"], row["slice"]) == ("region_mass", "all")]
    assert row["n"] == 10
    assert row["ci_low"] < row["value"] < row["ci_high"]


@pytest.mark.parametrize(("said", "asked"), [(True, {"samples": None}), ({"samples": 3}, {"samples": 3})])
def test_the_key_reaches_the_evaluations(tmp_path: Path, said: object, asked: object) -> None:
    stages = build_graph(load_study(write_study(tmp_path / "toy.yaml", attribution=said)), 1)
    assert {str(s.params["attribution"]) for s in stages.values() if s.work == "evaluate"} == {str(asked)}


def test_studies_without_it_keep_their_keys(tmp_path: Path) -> None:
    for study in (write_study(tmp_path / "a.yaml"), write_study(tmp_path / "b.yaml", attribution=False)):
        stages = build_graph(load_study(study), 1)
        assert not any("attribution" in stage.params for stage in stages.values())


def test_it_needs_the_samples_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="looks at the samples as they are"):
        load_study(write_study(tmp_path / "toy.yaml", attribution=True, conditions=["blank"]))
