from pathlib import Path

import pytest
from rich.console import Console
from tests.study.conftest import write_study

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
