import json
import shutil
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from tests.study.conftest import write_study

from medpref.study.cache import STAGES
from medpref.study.load import load_study
from medpref.study.run import run_study
from medpref.study.stage import StageContext, stage_functions


def test_a_start_is_made_once_for_all_studies_that_begin_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, quiet = tmp_path / "cache", Console(quiet=True)
    few = {"methods": {}, "controls": ["sft"], "search": None, "tasks": ["phantom-vqa"]}
    first = load_study(write_study(tmp_path / "first.yaml", **few))
    expected = run_study(first, tmp_path / "a", quiet, cache)

    def refuse(context: StageContext) -> None:
        raise AssertionError("the start was made again")

    monkeypatch.setitem(stage_functions._entries, "start", refuse)
    monkeypatch.setitem(stage_functions._entries, "train", refuse)
    again = load_study(write_study(tmp_path / "again.yaml", **few))
    assert run_study(again, tmp_path / "b", quiet, cache) == expected

    other = load_study(write_study(tmp_path / "other.yaml", **few, seeds=[5]))
    with pytest.raises(Exception, match="made again"):
        run_study(other, tmp_path / "c", quiet, cache)


FROZEN = {
    "methods": {
        "dpo": {"objective": "dpo", "rejected_response": "other-answer", "training": {"freeze": ["tower"]}},
        "copo-roi": None,
    },
    "controls": ["sft"],
    "search": None,
    "tasks": ["phantom-vqa"],
    "conditions": ["normal"],
}


def reuse(run: Path, kind: str) -> dict[str, tuple[int, int]]:
    """Return for each stage that keeps things of a kind, how many it computed and how many it found."""
    about = json.loads((run / "run.json").read_text())["reuse"]
    found = {name: kinds[kind] for name, kinds in about.items() if kind in kinds}
    return {name: (report["computed"], report["reused"]) for name, report in found.items()}


def logs(run: Path) -> dict[str, bytes]:
    files = sorted(path for path in (run / "logs").rglob("*") if path.is_file())
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def test_log_probs_and_features_are_computed_once_and_change_nothing(tmp_path: Path) -> None:
    cache, quiet = tmp_path / "cache", Console(quiet=True)
    study = load_study(write_study(tmp_path / "study.yaml", **FROZEN))
    for name in "ab":
        run_study(study, tmp_path / name, quiet, cache)
        # Whole stages would leave nothing to compute: this is about what they keep inside.
        shutil.rmtree(cache / STAGES)
    run_study(study, tmp_path / "without", quiet)
    first, again = (reuse(tmp_path / name, "reference log-probs") for name in "ab")
    assert len(first) == 2
    # Both pair sets ask for the chosen responses on the clean images: the second finds them.
    (alone, _), (beside, shared) = first.values()
    assert alone > 0
    assert beside > 0
    assert shared > 0
    assert [reused for _, reused in again.values()] == [alone, beside + shared]
    assert all(computed == 0 for computed, _ in again.values())
    ((images, none),) = reuse(tmp_path / "a", "image features").values()
    assert (images, none) == (16, 0)
    assert list(reuse(tmp_path / "b", "image features").values()) == [(0, 16)]
    assert logs(tmp_path / "a") == logs(tmp_path / "b") == logs(tmp_path / "without")


def test_a_damaged_file_is_named_and_computed_again(tmp_path: Path) -> None:
    cache, said = tmp_path / "cache", StringIO()
    study = load_study(write_study(tmp_path / "study.yaml", **FROZEN))
    run_study(study, tmp_path / "a", Console(quiet=True), cache)
    for shard in (cache / "reference").rglob("*.safetensors"):
        shard.write_bytes(shard.read_bytes()[:-1])
    shutil.rmtree(cache / STAGES)
    run_study(study, tmp_path / "b", Console(file=said, width=500), cache)
    assert "computed again, as this file is damaged" in said.getvalue()
    assert logs(tmp_path / "a") == logs(tmp_path / "b")
