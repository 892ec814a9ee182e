import json
import logging
from pathlib import Path

import pytest
import torch

from medpref.errors import RunError
from medpref.objectives import Scores, objectives
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer
from medpref.training.reference import compute_reference
from medpref.training.settings import TrainingSettings
from medpref.training.watch import Watch, check_finite

CHOSEN, REJECTED = Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED


def scores(chosen: list[float], rejected: list[float]) -> Scores:
    """Return scores of responses of 5 tokens whose reference log-probs are −10."""
    tensors = {CHOSEN: torch.tensor(chosen), REJECTED: torch.tensor(rejected)}
    ten = {cell: torch.full_like(values, -10.0) for cell, values in tensors.items()}
    return Scores(tensors, ten, {cell: torch.tensor([5] * len(chosen)) for cell in tensors})


@pytest.fixture
def two(make_pair) -> list[Pair]:
    return [make_pair("first"), make_pair("second")]


def test_a_fall_per_token_is_a_collapse(two: list[Pair]) -> None:
    watch = Watch(TrainingSettings(collapse_nats=2.0))
    watch.look(3, two, scores([-19.9, -10.0], [-10.0, -10.0]), 0.1)
    assert watch.take() is None
    # 10.5 nats on 5 tokens.
    watch.look(4, two, scores([-10.0, -20.5], [-10.0, -10.0]), 0.1)
    watch.look(5, two, scores([-25.0, -20.5], [-10.0, -10.0]), 0.1)
    found = watch.take()
    assert found == (
        "the chosen response fell 2 nats a token below the reference, first at step 4 (pairs second, first)"
    )
    assert watch.take() is None


@pytest.mark.parametrize("sign", [1, -1])
def test_a_margin_beyond_the_limit_diverges(two: list[Pair], sign: int) -> None:
    watch = Watch(TrainingSettings(reward_limit=3.0, collapse_nats=100.0))
    watch.look(1, two, scores([-10.0, -10.0], [-10.0, -10.0 - sign * 29.0]), 0.1)
    assert watch.take() is None
    watch.look(2, two, scores([-10.0, -10.0], [-10.0, -10.0 - sign * 31.0]), 0.1)
    assert watch.take() == "the reward margin is beyond 3 nats, first at step 2 (pairs second)"


def test_what_all_processes_saw_is_told_together(two: list[Pair]) -> None:
    watch = Watch(TrainingSettings())
    watch.look(7, two, scores([-10.0, -90.0], [-10.0, -10.0]), 0.1)
    fault = "the chosen response fell 2 nats a token below the reference"
    others = {fault: [(5, "theirs")]}
    assert watch.take(lambda seen: [seen, others]) == f"{fault}, first at step 5 (pairs theirs, second)"


def test_an_objective_without_a_reference_has_no_collapse(two: list[Pair]) -> None:
    watch = Watch(TrainingSettings(on_collapse="stop"))
    found = scores([-900.0, -900.0], [-10.0, -10.0])
    watch.look(1, two, Scores(found.logps, {}, found.lengths), 0.1)
    assert watch.take() is None


def test_stopping_names_step_and_pairs(two: list[Pair]) -> None:
    watch = Watch(TrainingSettings(on_collapse="stop"))
    with pytest.raises(RunError, match="fell 2 nats a token below the reference at step 9") as caught:
        watch.look(9, two, scores([-10.0, -90.0], [-10.0, -10.0]), 0.1)
    assert caught.value.where == "pairs second"


def test_ignoring_says_nothing(two: list[Pair], caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(TrainingSettings(on_collapse="ignore"))
    watch.look(9, two, scores([-10.0, -90.0], [-10.0, -10.0]), 0.1)
    assert watch.take() is None
    assert not caplog.records


def test_a_warning_is_given_once(two: list[Pair], caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(TrainingSettings())
    with caplog.at_level(logging.WARNING):
        for step in (1, 2, 3):
            watch.look(step, two, scores([-10.0, -90.0], [-10.0, -10.0]), 0.1)
    assert [record.getMessage() for record in caplog.records] == [
        "step 1: the chosen response fell 2 nats a token below the reference (pairs second)"
    ]


def test_many_pairs_are_counted_after_the_first_few(make_pair) -> None:
    many = [make_pair(f"p{n}") for n in range(9)]
    with pytest.raises(RunError) as caught:
        check_finite(1, many, torch.full((9,), float("inf")))
    assert caught.value.where == "pairs p0, p1, p2, p3, p4 and 4 more"


def collapsing(make_backbone, make_trainer, pairs: list[Pair], **settings: object):
    """Return a trainer whose reference says that the chosen responses were far likelier than they are."""
    backbone = make_backbone("mistral")
    reference = compute_reference(Scorer(backbone), pairs, objectives["dpo"].cells)
    reference.values[CHOSEN] += 5.0
    return make_trainer(backbone, "dpo", reference=reference, **settings)


def test_a_collapse_stands_in_the_training_log(
    make_backbone, make_trainer, pairs: list[Pair], tmp_path: Path
) -> None:
    trainer = collapsing(make_backbone, make_trainer, pairs, steps=2, images_per_step=3)
    trainer.train()
    trainer.write_log(tmp_path / "training.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    assert [row["warning"].split(" (")[0] for row in rows] == [
        f"the chosen response fell 2 nats a token below the reference, first at step {step}"
        for step in (1, 2)
    ]
    assert all(pair.id in rows[0]["warning"] for pair in pairs[:1])


def test_a_collapse_may_stop_the_run(make_backbone, make_trainer, pairs: list[Pair]) -> None:
    with pytest.raises(RunError, match="below the reference at step 1"):
        collapsing(make_backbone, make_trainer, pairs, on_collapse="stop").train()
