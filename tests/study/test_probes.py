"""A study that asks its models while they are trained."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.study.conftest import toy, write_study

from medpref.errors import InputError
from medpref.evaluation.log import Record
from medpref.evaluation.tasks import tasks
from medpref.files import read_jsonl
from medpref.study.graph import build_graph
from medpref.study.load import load_study
from medpref.study.run import run_study
from medpref.study.stage import StageContext, stage_functions
from medpref.study.stages.probing import probe_scores

QUIET = Console(quiet=True)
TRAINING = {"steps": 4, "images_per_step": 4, "checkpoint_every": 2, "log_every": 2, "probe_every": 2}
SEARCH = {"task": "phantom-vqa"}


def probing(path: Path, **changes: Any) -> Path:
    study = {
        "methods": {"dpo": {"objective": "dpo", "rejected_response": "other-answer"}},
        "controls": ["sft"],
        "sft": TRAINING,
        "training": TRAINING,
        "search": SEARCH,
        "tasks": ["phantom-vqa"],
        "conditions": ["normal"],
    }
    return write_study(path, **{**study, **changes})


class Killed(BaseException):
    """What no handler of ours catches, as a kill would not be."""


def test_the_log_has_true_accuracy_beside_the_rewards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_study(load_study(probing(tmp_path / "toy.yaml")), tmp_path / "run", QUIET)
    logs = tmp_path / "run" / "logs/tiny/seed-0"
    for method in ("sft", "dpo"):
        rows = [row for _, row in read_jsonl(logs / method / "training.jsonl")]
        probed = [row for row in rows if "probe/accuracy" in row]
        assert [row["step"] for row in probed] == [0, 2, 4]
        assert all({"probe/accuracy/visual", "probe/n"} <= row.keys() for row in probed)
    assert "rewards/accuracies" in rows[1]
    # The last weights are those that the search asked: by other code, of the saved model.
    (candidate,) = json.loads((logs / "dpo/search.json").read_text())["candidates"]
    assert (probed[-1]["probe/accuracy"], probed[-1]["probe/n"]) == (candidate["value"], candidate["n"])
    # The first are those that the SFT model ended with.
    ended = [row for _, row in read_jsonl(logs / "sft/training.jsonl") if row["step"] == 4][-1]
    assert ended == {**probed[0], "step": 4}
    check_resumed(tmp_path, monkeypatch)


def check_resumed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill the same study in its trainings and let it go on: the logs must be those that stand there."""
    original, left = stage_functions["train"], [7]

    def stopped(context: StageContext) -> None:
        def advance(amount: int) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            context.advance(amount)

        original(replace(context, advance=advance))

    study = load_study(folder / "toy.yaml")
    monkeypatch.setitem(stage_functions._entries, "train", stopped)
    with pytest.raises(Killed):
        run_study(study, folder / "killed", QUIET)
    monkeypatch.setitem(stage_functions._entries, "train", original)
    run_study(study, folder / "killed", QUIET)
    for name in ("sft", "dpo"):
        whole, resumed = (
            folder / run / f"logs/tiny/seed-0/{name}/training.jsonl" for run in ("run", "killed")
        )
        assert resumed.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("where", ["sft", "training"])
def test_a_study_without_a_search_says_what_is_missing(tmp_path: Path, where: str) -> None:
    plain = {key: value for key, value in TRAINING.items() if key != "probe_every"}
    changes = {"sft": plain, "training": plain, "search": None, where: TRAINING}
    with pytest.raises(InputError, match=r"probe_every asks .* this study has no search") as caught:
        load_study(probing(tmp_path / "toy.yaml", **changes))
    line = int(str(caught.value.where).rpartition("line ")[2])
    said = (tmp_path / "toy.yaml").read_text().splitlines()
    assert "probe_every" in said[line - 1]
    assert f"{where}:" in [text for text in said[:line] if not text.startswith(" ")][-1]
    assert "search" in (caught.value.remedy or "")


def test_a_methods_own_setting_is_checked_too(tmp_path: Path) -> None:
    methods = {
        "dpo": {"objective": "dpo", "rejected_response": "other-answer", "training": {"probe_every": 2}}
    }
    training = toy()["training"]
    with pytest.raises(InputError, match="this study has no search"):
        load_study(
            probing(tmp_path / "toy.yaml", methods=methods, search=None, sft=training, training=training)
        )


def test_trainings_that_ask_nothing_keep_their_keys(tmp_path: Path) -> None:
    stages = build_graph(load_study(write_study(tmp_path / "toy.yaml")), 1)
    params = [stage.params for stage in stages.values() if stage.work == "train"]
    assert params
    assert not any("probe" in own or "probe_every" in own["training"] for own in params)


def record(kind: str, **scores: float) -> Record:
    return Record("r", "", (), "c", "", "", (kind,), True, dict(scores))


def test_scores_are_told_over_all_and_over_named_slices() -> None:
    records = (record("modality", accuracy=1.0), record("side", accuracy=0.0), record("side", accuracy=1.0))
    scores = probe_scores(tasks["phantom-vqa"], "accuracy", records)
    assert scores == {"accuracy": 2 / 3, "accuracy/visual": 0.5, "n": 3}


def test_a_metric_that_no_sample_has_is_an_error() -> None:
    with pytest.raises(InputError, match="has the metric 'token_f1'"):
        probe_scores(tasks["phantom-vqa"], "token_f1", (record("side", accuracy=1.0),))
