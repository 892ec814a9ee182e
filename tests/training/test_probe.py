"""Questions asked while a model is trained: when, and that training does not notice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from medpref.backbones.sampling import Sampling
from medpref.errors import InputError
from medpref.generation.local import LocalEngine
from medpref.generation.question import Answer, Question
from medpref.pairs.pair import ImageRole, Pair
from medpref.training.arguments import last_checkpoint
from medpref.training.probe import Probe, is_probe

LORA = {"lora": {"r": 2, "dropout": 0.3}}


class KilledError(Exception):
    pass


def kill_at(step: int) -> Callable[[int], None]:
    done = 0

    def advance(amount: int) -> None:
        nonlocal done
        done += amount
        if done == step:
            raise KilledError

    return advance


def asking(backbone: Any, pairs: list[Pair], asked: list[int]) -> Probe:
    """Return a probe that answers the pairs' prompts, draws random numbers, and tells what was answered."""
    questions = [Question(pair.id, pair.prompt, pair.images[ImageRole.CLEAN]) for pair in pairs]

    def ask(step: int) -> dict[str, float]:
        asked.append(step)
        torch.rand(7)
        made = LocalEngine(backbone, batch=2, fingerprint="").answer(questions, Sampling(max_new_tokens=4))
        texts = [answer.text for answer in made if isinstance(answer, Answer)]
        return {"letters": float(sum(map(len, texts))), "n": len(texts)}

    return ask


@pytest.fixture
def train(make_backbone, make_trainer, pairs: list[Pair], tmp_path: Path):
    """Return a function that trains, and returns the weights, the log, and the steps that were asked at."""

    def run(
        folder: str, kill: int | None = None, **settings: Any
    ) -> tuple[dict[str, Any], list[Any], list[int]]:
        backbone, asked = make_backbone("mistral"), []
        trainer = make_trainer(
            backbone,
            "dpo",
            folder=tmp_path / folder,
            advance=kill_at(kill) if kill else lambda _: None,
            probe=asking(backbone, pairs, asked) if settings.get("probe_every") else None,
            **{"steps": 5, "checkpoint_every": 2, **settings},
        )
        resume = last_checkpoint(tmp_path / folder)
        if kill:
            with pytest.raises(KilledError):
                trainer.train(resume_from_checkpoint=resume)
            return {}, [], asked
        trainer.train(resume_from_checkpoint=resume)
        trainer.write_log(tmp_path / f"{folder}.jsonl")
        rows = [json.loads(line) for line in (tmp_path / f"{folder}.jsonl").read_text().splitlines()]
        return {name: value.clone() for name, value in backbone.model.state_dict().items()}, rows, asked

    return run


@pytest.mark.parametrize("settings", [{}, LORA, {"accumulate": 2}, {"log_every": 2}])
def test_training_is_the_same_with_and_without(train, settings: dict[str, Any]) -> None:
    weights, rows, _ = train("without", **settings)
    probed, more, asked = train("with", probe_every=2, **settings)
    assert asked == [0, 2, 4, 5]
    assert all(torch.equal(value, probed[name]) for name, value in weights.items())
    assert [row for row in more if not is_probe(row)] == rows


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"probe_every": 1}, [0, 1, 2, 3, 4, 5]),
        ({"probe_every": 3, "log_every": 2}, [0, 4, 5]),
        ({"probe_every": 100}, [0, 5]),
    ],
)
def test_it_asks_at_the_start_every_so_often_and_at_the_end(train, settings, steps: list[int]) -> None:
    _, rows, asked = train("run", **settings)
    assert asked == steps
    probed = [row for row in rows if is_probe(row)]
    assert [row["step"] for row in probed] == steps
    assert all(set(row) == {"step", "probe/letters", "probe/n"} for row in probed)
    assert all(row["probe/n"] == 6 for row in probed)


@pytest.mark.parametrize("kill", [1, 3, 5])
def test_a_killed_run_goes_on_to_the_same_log(train, kill: int) -> None:
    weights, rows, _ = train("whole", probe_every=1, **LORA)
    _, _, first = train("killed", kill=kill, probe_every=1, **LORA)
    resumed, same, second = train("killed", probe_every=1, **LORA)
    assert same == rows
    assert all(torch.equal(value, resumed[name]) for name, value in weights.items())
    # Nothing is asked that a checkpoint holds.
    saved = 2 * ((kill - 1) // 2)
    assert first == list(range(kill))
    assert second == list(range(saved + 1 if saved else 0, 6))


def test_it_asks_where_training_stops_early(train) -> None:
    # Nothing is learned, so that the second evaluation is no new best.
    _, rows, asked = train(
        "early", probe_every=4, validation_share=0.34, evaluate_every=1, patience=1, learning_rate=1e-30
    )
    assert asked == [0, 2]
    assert [row["step"] for row in rows if is_probe(row)] == [0, 2]


def test_a_warning_stands_with_the_metrics_that_it_belongs_to(train) -> None:
    _, rows, _ = train("warned", probe_every=1, reward_limit=1e-9)
    warned = [row for row in rows if "warning" in row]
    assert warned
    assert not any(is_probe(row) for row in warned)


def test_the_models_modes_are_put_back(make_backbone, make_trainer, pairs: list[Pair]) -> None:
    backbone, asked = make_backbone("mistral"), []
    modes: list[bool] = []
    trainer = make_trainer(
        backbone,
        "sft",
        probe=asking(backbone, pairs, asked),
        probe_every=1,
        advance=lambda _: modes.append(backbone.model.training),
    )
    trainer.train()
    assert modes[1:] == [True] * 3


def test_how_often_without_what_is_an_error(make_backbone, make_trainer) -> None:
    with pytest.raises(InputError, match="nothing to ask"):
        make_trainer(make_backbone("mistral"), "sft", probe_every=2)
