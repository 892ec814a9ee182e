"""A study that is run again leaves alone what experts said of its answers."""

from pathlib import Path

import pytest

from medpref.files import read_json, write_json
from medpref.review.export import LOGS, PLAN
from medpref.study.run import collect_logs


def test_a_study_that_is_started_again_keeps_what_people_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medpref.study.run.data_facts", lambda *_: {})
    write_json(tmp_path / "logs" / "old.json", {})
    write_json(tmp_path / LOGS / PLAN, {"said": "correct"})
    for _ in range(2):
        collect_logs(tmp_path, {}, "toy")
        assert read_json(tmp_path / LOGS / PLAN) == {"said": "correct"}
        assert not (tmp_path / "logs" / "old.json").exists()
