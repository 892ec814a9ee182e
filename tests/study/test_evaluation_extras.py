"""What a study scores beside answers: facts of captions, conditions, likelihood, and errors by a judge."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from tests.generation.servers import Body, Handler, completion, serving
from tests.study.conftest import write_study

from medpref.errors import InputError
from medpref.evaluation.log import read_logs
from medpref.evaluation.looking import read_judged_errors
from medpref.study.load import load_study
from medpref.study.run import run_study

QUIET = Console(quiet=True)
METHODS = {"sft-continued": {"objective": "sft"}}


def sort_error(handler: Handler, body: Body) -> bool:
    """Call every error one of place."""
    handler.reply(200, completion(json.dumps({"kinds": ["anatomical"], "reason": "place"})))
    return True


def test_captions_are_judged_and_wrong_answers_sorted(tmp_path: Path) -> None:
    with serving() as server:
        server.fault = sort_error
        study = write_study(
            tmp_path / "study.yaml",
            methods=METHODS,
            controls=["sft"],
            tasks=["phantom-vqa", "phantom-caption"],
            conditions=["normal", "shuffled", "mirror"],
            reports={"judge": "rules", "metrics": ["chexbert-f1"]},
            error_judge={
                "endpoint": server.address,
                "model": "tiny",
                "cache": str(tmp_path / "replies"),
                "retries": 0,
            },
        )
        run_study(load_study(study), tmp_path / "run", QUIET)
        assert server.requests
        assert "image_url" not in json.dumps(server.requests), "texts alone are sent"
    logs = read_logs(tmp_path / "run" / "logs")
    captions = [log for log in logs if log.header.task == "phantom-caption" and log.header.method == "sft"]
    normal = next(log for log in captions if log.header.condition == "normal")
    assert all({"fact_comp", "fact_hall"} <= record.scores.keys() for record in normal.records)
    assert all("chexbert-f1" in record.unscored_metrics for record in normal.records)
    questions = [log for log in logs if log.header.task == "phantom-vqa" and log.header.method == "sft"]
    assert {log.header.condition for log in questions} == {"normal", "shuffled", "mirror"}
    answered = next(log for log in questions if log.header.condition == "normal")
    assert all(record.choice_logps for record in answered.records)
    assert all("likelihood_accuracy" in record.scores for record in answered.records)
    judged = read_judged_errors(tmp_path / "run" / "logs")
    assert judged
    assert set(judged.values()) == {("anatomical",)}


def test_settings_of_reports_are_checked(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study.yaml", methods=METHODS, reports={"judge": "rule"})
    with pytest.raises(InputError, match="no judge called 'rule'"):
        load_study(study)
    study = write_study(tmp_path / "study.yaml", methods=METHODS, reports={"judge": "rules"})
    with pytest.raises(InputError, match="no task of this study has reports"):
        load_study(study, {"tasks": ["phantom-vqa"]})
    study = write_study(tmp_path / "study.yaml", methods=METHODS, conditions=["normal", "blurred"])
    with pytest.raises(InputError, match="no condition called 'blurred'"):
        load_study(study)
