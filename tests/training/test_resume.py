import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from medpref.objectives import objectives
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer
from medpref.training.arguments import last_checkpoint
from medpref.training.parts import TrainingPart
from medpref.training.reference import compute_reference
from medpref.training.settings import TrainingSettings
from medpref.training.trainer import PreferenceTrainer

# Six uninterrupted steps are the same in every test: trained once for each setting.
WHOLE: dict[tuple[tuple[str, int], ...], Any] = {}


class KilledError(Exception):
    pass


def kill_after(step: int) -> Callable[[int], None]:
    done = 0

    def advance(amount: int) -> None:
        nonlocal done
        done += amount
        if done == step:
            raise KilledError

    return advance


def two_parts(backbone: Any, pairs: list[Pair], settings: TrainingSettings, **rest: Any) -> PreferenceTrainer:
    """Return a trainer on a mixture of two objectives, each on its own images."""
    reference = compute_reference(Scorer(backbone), pairs, [Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED])
    parts = [
        TrainingPart(pairs[:4], objectives["dpo"], {}, reference, share=2.0, name="text"),
        TrainingPart(pairs[4:], objectives["sft"], share=1.0, name="answers"),
    ]
    return PreferenceTrainer(backbone, parts, settings, seed=0, **rest)


@pytest.fixture
def train(make_backbone, make_trainer, pairs: list[Pair], tmp_path: Path):
    """Return a function that trains six steps and returns the weights and the log."""

    def run(folder: str, kill: int | None = None, **settings: int) -> tuple[dict[str, Any], list[Any]] | None:
        backbone = make_backbone("mistral")
        cells = [Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED, Cell.REJECTED_CHOSEN]
        trainer = make_trainer(
            backbone,
            "mdpo",
            folder=tmp_path / folder,
            reference=compute_reference(Scorer(backbone), pairs, cells),
            advance=kill_after(kill) if kill else lambda _: None,
            **{"steps": 6, "checkpoint_every": 2, **settings},
        )
        resume = last_checkpoint(tmp_path / folder)
        if kill:
            with pytest.raises(KilledError):
                trainer.train(resume_from_checkpoint=resume)
            return None
        trainer.train(resume_from_checkpoint=resume)
        trainer.write_log(tmp_path / f"{folder}.jsonl")
        rows = [json.loads(line) for line in (tmp_path / f"{folder}.jsonl").read_text().splitlines()]
        return {name: value.clone() for name, value in backbone.model.state_dict().items()}, rows

    return run


@pytest.fixture
def whole(train):
    """Return a function that gives the weights and the log of six uninterrupted steps."""

    def run(**settings: int) -> Any:
        key = tuple(settings.items())
        if key not in WHOLE:
            WHOLE[key] = train("whole", **settings)
        return WHOLE[key]

    return run


def check_equal(resumed, whole) -> None:
    weights, rows = resumed
    assert all(torch.equal(value, whole[0][name]) for name, value in weights.items())
    assert rows == whole[1]


def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(train, whole, tmp_path: Path) -> None:
    train("killed", kill=5)
    assert last_checkpoint(tmp_path / "killed").name == "checkpoint-4"
    check_equal(train("killed"), whole())


def test_a_run_may_be_killed_twice(train, whole) -> None:
    train("killed", kill=3)
    train("killed", kill=5)
    check_equal(train("killed"), whole())


def test_a_run_killed_before_its_first_checkpoint_starts_anew(train, whole, tmp_path: Path) -> None:
    train("killed", kill=1)
    assert last_checkpoint(tmp_path / "killed") is None
    check_equal(train("killed"), whole())


def test_accumulated_steps_resume_too(train, whole) -> None:
    settings = {"accumulate": 2, "images_per_step": 1}
    train("killed", kill=5, **settings)
    check_equal(train("killed", **settings), whole(**settings))


def test_the_log_is_the_same_where_a_checkpoint_falls_between_two_lines(train, whole) -> None:
    train("killed", kill=3, log_every=3)
    check_equal(train("killed", log_every=3), whole(log_every=3))


def damage(folder: Path, state: str | None) -> Path:
    """Put a half-written checkpoint 6 beside the whole checkpoint 4, and return the latter."""
    good, half = folder / "checkpoint-4", folder / "checkpoint-6"
    shutil.copytree(good, half)
    (half / "model.safetensors").write_bytes(b"half")
    (half / "trainer_state.json").unlink()
    if state is not None:
        (half / "trainer_state.json").write_text(state)
    return good


MIXED = {
    "a mixture": {},
    "a budget": {"tokens_per_step": 150},
    "by length": {"by_length": True, "group_by_image": False, "images_per_step": 2},
    "adapters": {"lora": {"r": 2, "dropout": 0.1}},
    "evaluation": {"validation_share": 0.34, "evaluate_every": 1, "patience": 6},
}


@pytest.mark.parametrize("name", list(MIXED))
def test_a_mixture_resumes_bit_for_bit(make_backbone, pairs: list[Pair], tmp_path: Path, name: str) -> None:
    usual = {"steps": 6, "images_per_step": 2, "log_every": 1, "checkpoint_every": 2, "accumulate": 2}
    settings = TrainingSettings.model_validate({**usual, **MIXED[name]})

    def run(folder: str, kill: int | None = None) -> tuple[dict[str, Any], bytes] | None:
        backbone = make_backbone("mistral")
        trainer = two_parts(
            backbone,
            pairs,
            settings,
            folder=tmp_path / folder,
            advance=kill_after(kill) if kill else lambda _: None,
        )
        resume = last_checkpoint(tmp_path / folder)
        if kill:
            with pytest.raises(KilledError):
                trainer.train(resume_from_checkpoint=resume)
            return None
        trainer.train(resume_from_checkpoint=resume)
        trainer.write_log(tmp_path / f"{folder}.jsonl")
        return backbone.model.state_dict(), (tmp_path / f"{folder}.jsonl").read_bytes()

    weights, log = run("whole")
    run("killed", kill=5)
    assert last_checkpoint(tmp_path / "killed").name.startswith("checkpoint-")
    resumed, same_log = run("killed")
    assert log == same_log
    assert all(torch.equal(resumed[key], value) for key, value in weights.items())
    rows = [json.loads(line) for line in log.splitlines()]
    assert {"loss/text", "loss/answers"} <= {key for row in rows for key in row}


@pytest.mark.parametrize("state", [None, "", '{"global_step": 6,'])
def test_a_half_written_checkpoint_is_passed_over(train, tmp_path: Path, state: str | None) -> None:
    train("killed", kill=5)
    good = damage(tmp_path / "killed", state)
    assert last_checkpoint(tmp_path / "killed") == good


def test_a_run_goes_on_from_the_last_whole_checkpoint(train, whole, tmp_path: Path) -> None:
    train("killed", kill=5)
    damage(tmp_path / "killed", None)
    check_equal(train("killed"), whole())


def test_the_newest_checkpoint_is_the_one_with_the_highest_number(tmp_path: Path) -> None:
    for step in (9, 10, 2):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


def test_no_folder_holds_no_checkpoint(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path / "nowhere") is None


def test_progress_counts_what_an_earlier_run_has_done(
    train, make_backbone, make_trainer, tmp_path: Path
) -> None:
    train("killed", kill=5)
    done: list[int] = []
    trainer = make_trainer(
        make_backbone("mistral"), "mdpo", folder=tmp_path / "killed", steps=6, advance=done.append
    )
    trainer.train(resume_from_checkpoint=last_checkpoint(tmp_path / "killed"))
    assert done == [4, 1, 1]
