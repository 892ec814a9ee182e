import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from medpref.errors import InputError
from medpref.pairs.pair import Pair
from medpref.training.arguments import last_checkpoint
from medpref.training.settings import TrainingSettings
from medpref.training.trainer import PreferenceTrainer

EVALUATING = {"validation_share": 0.3, "evaluate_every": 2, "schedule": "constant", "warmup_share": 0}


@pytest.fixture
def ten(make_image, make_pair) -> list[Pair]:
    """Ten images with a pair or two each; the answers say nothing about the image."""
    answers = ["Yes, in the upper lobe.", "No, the lung is clear.", "Left", "Right"]
    return [
        make_pair(f"{n}-{m}", (make_image(f"{n}.png", n),), chosen=answers[(n + m) % 4], refused="None")
        for n in range(10)
        for m in range(1 + n % 2)
    ]


def log_of(trainer: PreferenceTrainer, path: Path) -> list[dict[str, Any]]:
    trainer.write_log(path)
    return [json.loads(line) for line in path.read_text().splitlines()]


def evaluations(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if "eval_loss" in row]


def test_what_is_held_out_is_evaluated_and_not_trained_on(
    make_backbone, make_trainer, ten: list[Pair], tmp_path: Path
) -> None:
    backbone = make_backbone("mistral")
    trainer = make_trainer(backbone, "dpo", data=ten, steps=4, **EVALUATING)
    trainer.train()
    rows = log_of(trainer, tmp_path / "training.jsonl")
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4]
    assert [row["step"] for row in evaluations(rows)] == [2, 4]
    for row in evaluations(rows):
        assert {key.removeprefix("eval_") for key in row} == {
            *("loss", "nll_loss", "logps/chosen", "logps/rejected", "step"),
            *("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"),
        }
        assert list(row) == sorted(row)
    named = [json.loads(line) for line in (tmp_path / "held-out.jsonl").read_text().splitlines()]
    held = {row["id"] for row in named}
    trained = {pair.id for group in trainer.train_dataset.groups for pair in group.pairs}
    assert len({ident.split("-")[0] for ident in held}) == 3
    assert held | trained == {pair.id for pair in ten}
    assert not held & trained


def test_evaluation_is_the_mean_over_the_pairs_held_out(make_backbone, make_trainer, ten: list[Pair]) -> None:
    trainer = make_trainer(
        make_backbone("mistral"), "sft", data=ten, steps=2, images_per_step=2, **EVALUATING
    )
    trainer.model.eval()
    found = trainer.evaluate()
    pairs = list(trainer.held_out.validation[0].pairs)
    with torch.no_grad():
        whole = trainer.compute_loss(trainer.model, {"pairs": {0: pairs}, "counted": True})
    assert found["eval_loss"] == pytest.approx(whole.item(), rel=1e-5)
    assert found["eval_nll_loss"] == pytest.approx(whole.item(), rel=1e-5)
    # An evaluation leaves nothing in the training's means.
    assert not [name for name in trainer.means.take() if name.startswith("eval")]


def test_the_best_weights_are_those_that_training_ends_with(
    make_backbone, make_trainer, ten: list[Pair], tmp_path: Path
) -> None:
    # So high a learning rate that the loss on what was not trained on rises before the end.
    usual = {"data": ten, "learning_rate": 1e-2, "images_per_step": 4, **EVALUATING}
    backbone = make_backbone("mistral")
    trainer = make_trainer(backbone, "sft", steps=30, **usual)
    trainer.train()
    losses = {
        row["step"]: row["eval_loss"] for row in evaluations(log_of(trainer, tmp_path / "training.jsonl"))
    }
    best = min(losses, key=lambda step: losses[step])
    assert 2 < best < 30
    assert trainer.state.best_metric == losses[best]
    other = make_backbone("mistral")
    make_trainer(other, "sft", steps=best, folder=tmp_path / "short", **usual).train()
    own = backbone.model.state_dict()
    assert all(torch.equal(own[name], value) for name, value in other.model.state_dict().items())


def test_patience_stops_and_a_run_killed_at_its_end_stops_again(
    make_backbone, make_trainer, ten: list[Pair], tmp_path: Path
) -> None:
    def run(resume: Path | None) -> tuple[dict[str, Any], bytes, PreferenceTrainer]:
        backbone = make_backbone("mistral")
        trainer = make_trainer(
            backbone,
            "sft",
            data=ten,
            steps=60,
            patience=3,
            learning_rate=3e-3,
            checkpoint_every=2,
            images_per_step=4,
            **EVALUATING,
        )
        trainer.train(resume_from_checkpoint=resume)
        trainer.write_log(tmp_path / "training.jsonl")
        return backbone.model.state_dict(), (tmp_path / "training.jsonl").read_bytes(), trainer

    weights, log, trainer = run(None)
    assert trainer.state.global_step == trainer.state.best_global_step + 3 * 2 < 60
    # What is left of the checkpoints is the best one; a run that goes on from there repeats the rest.
    again, same_log, _ = run(last_checkpoint(tmp_path / "checkpoints"))
    assert log == same_log
    assert all(torch.equal(again[name], value) for name, value in weights.items())


def test_a_metric_that_may_rise_is_maximised(make_backbone, make_trainer, ten: list[Pair], tmp_path) -> None:
    trainer = make_trainer(
        make_backbone("mistral"),
        "dpo",
        data=ten,
        steps=6,
        best_metric="rewards/margins",
        **EVALUATING,
    )
    trainer.train()
    margins = [
        row["eval_rewards/margins"] for row in evaluations(log_of(trainer, tmp_path / "training.jsonl"))
    ]
    assert trainer.state.best_metric == max(margins) > min(margins)


def test_a_metric_that_the_objective_lacks_is_an_error(make_backbone, make_trainer, ten: list[Pair]) -> None:
    trainer = make_trainer(
        make_backbone("mistral"), "sft", data=ten, steps=2, best_metric="eval_rewards/margins", **EVALUATING
    )
    with pytest.raises(InputError, match="no objective of this run has this metric"):
        trainer.train()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"validation_share": 0.1}, "need each other"),
        ({"evaluate_every": 5}, "need each other"),
        ({"patience": 2}, "set evaluate_every"),
        ({"reference": "adapters-off"}, "needs lora"),
    ],
)
def test_settings_that_do_not_fit_each_other(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingSettings.model_validate(wrong)


def test_steps_are_rounded_so_that_nothing_unlogged_is_lost() -> None:
    settings = TrainingSettings(log_every=10, evaluate_every=25, checkpoint_every=50, validation_share=0.1)
    assert settings.evaluation_steps == 30
    assert settings.save_steps == 60


def test_an_unknown_tracker_is_an_error(make_backbone, make_trainer) -> None:
    with pytest.raises(InputError, match="Did you mean 'tensorboard'"):
        make_trainer(make_backbone("mistral"), "sft", trackers=("tensorbord",))


@pytest.mark.skipif(find_spec("tensorboard") is not None, reason="the tracker is there")
def test_a_tracker_that_is_not_installed_is_an_error(make_backbone, make_trainer) -> None:
    with pytest.raises(InputError, match="tracker tensorboard cannot be used"):
        make_trainer(make_backbone("mistral"), "sft", trackers=("tensorboard",))


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="the tracker is not there")
def test_a_tracker_writes_below_the_folder(make_backbone, make_trainer, tmp_path: Path) -> None:
    make_trainer(make_backbone("mistral"), "sft", trackers=("tensorboard",)).train()
    assert list((tmp_path / "checkpoints" / "runs").rglob("events*"))


@pytest.mark.parametrize(("name", "last"), [("cosine", 0.0), ("linear", 0.0), ("constant", 1e-3)])
def test_the_schedules(make_backbone, make_trainer, name: str, last: float) -> None:
    trainer = make_trainer(make_backbone("mistral"), "sft", schedule=name, warmup_share=0.34, steps=3)
    trainer.train()
    rates = [row["learning_rate"] for row in trainer.state.log_history if "loss" in row]
    assert rates[0] == 0
    assert rates[1] == pytest.approx(1e-3)
    assert trainer.lr_scheduler.get_last_lr()[0] == pytest.approx(last)
