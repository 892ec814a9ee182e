from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, cat

from medpref.objectives import objectives
from medpref.pairs.pair import Pair
from medpref.training.parts import TrainingPart
from medpref.training.settings import TrainingSettings
from medpref.training.trainer import PreferenceTrainer

KEYS = ("loss", "nll_loss", "logps/chosen", "logps/rejected", "rewards/accuracies", "grad_norm")


@pytest.fixture
def uneven(make_image, make_pair) -> list[Pair]:
    """Eight groups with one to four pairs each, with answers of different lengths."""
    answers = ["Yes", "No, the lung is clear.", "A lesion in the upper lobe of the left lung.", "Left"]
    return [
        make_pair(f"{n}-{m}", (make_image(f"{n}.png", n),), chosen=answer, refused="None")
        for n in range(8)
        for m, answer in enumerate(answers[: 1 + n % 4])
    ]


def gradient(trainer: PreferenceTrainer) -> Tensor:
    """Return the gradient of the only step: after it, Adam's first moment is a tenth of that."""
    moments = [state["exp_avg"].flatten() for state in trainer.optimizer.state.values()]
    return 10 * cat(moments)


def settings(groups: int, accumulate: int) -> TrainingSettings:
    return TrainingSettings(
        steps=1,
        images_per_step=groups,
        accumulate=accumulate,
        learning_rate=1e-5,
        max_grad_norm=1e9,
        warmup_share=0,
        log_every=1,
    )


def close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).norm() <= 1e-5 * other.norm())


@pytest.mark.parametrize("accumulate", [2, 8])
def test_accumulating_uneven_groups_is_one_large_batch(
    make_backbone, uneven: list[Pair], tmp_path: Path, accumulate: int
) -> None:
    def run(groups: int, accumulate: int) -> tuple[Tensor, dict[str, Any]]:
        trainer = PreferenceTrainer(
            make_backbone("mistral"),
            [TrainingPart(uneven, objectives["orpo"])],
            settings(groups, accumulate),
            seed=0,
            folder=tmp_path / str(accumulate),
        )
        trainer.train()
        return gradient(trainer), trainer.state.log_history[0]

    whole, row = run(8, 1)
    summed, other = run(8 // accumulate, accumulate)
    assert close(summed, whole)
    # Adding the parts without dividing, or dividing twice, would be another gradient.
    assert not close(summed * accumulate, whole)
    assert not close(summed / accumulate, whole)
    for key in set(KEYS) & set(row):
        assert other[key] == pytest.approx(row[key], rel=1e-5, abs=1e-5), key


def test_the_mean_over_batches_would_be_another_loss(make_backbone, uneven: list[Pair], tmp_path) -> None:
    """The groups are uneven enough that a mean of means shows."""
    trainer = PreferenceTrainer(
        make_backbone("mistral"),
        [TrainingPart(uneven, objectives["sft"])],
        settings(8, 1),
        seed=0,
        folder=tmp_path,
    )
    batches = [{"pairs": {0: list(group.pairs)}, "counted": True} for group in trainer.train_dataset.groups]
    each = [trainer.compute_loss(trainer.model, batch).item() for batch in batches]
    whole = trainer.compute_loss(trainer.model, {"pairs": {0: uneven}, "counted": True}).item()
    assert abs(sum(each) / len(each) - whole) > 1e-3
    sizes = [len(batch["pairs"][0]) for batch in batches]
    weighted = sum(loss * size for loss, size in zip(each, sizes, strict=True)) / sum(sizes)
    assert weighted == pytest.approx(whole, rel=1e-5)


def test_a_loss_over_several_parts_is_the_mean_over_all_their_pairs(
    make_backbone, uneven: list[Pair], tmp_path: Path
) -> None:
    parts = [
        TrainingPart(uneven[:5], objectives["sft"], name="one"),
        TrainingPart(uneven[5:], objectives["orpo"], name="other"),
    ]
    trainer = PreferenceTrainer(make_backbone("mistral"), parts, settings(8, 1), seed=0, folder=tmp_path)
    batch = {"pairs": {0: uneven[:5], 1: uneven[5:]}, "counted": True}
    loss = trainer.compute_loss(trainer.model, batch).item()
    alone = [
        trainer.compute_loss(trainer.model, {"pairs": {number: list(part.pairs)}, "counted": True}).item()
        for number, part in enumerate(parts)
    ]
    expected = (alone[0] * 5 + alone[1] * (len(uneven) - 5)) / len(uneven)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_a_stand_in_has_no_gradient_and_no_metrics(make_backbone, uneven: list[Pair], tmp_path) -> None:
    trainer = PreferenceTrainer(
        make_backbone("mistral"),
        [TrainingPart(uneven, objectives["sft"])],
        settings(8, 1),
        seed=0,
        folder=tmp_path,
    )
    loss = trainer.compute_loss(trainer.model, {"pairs": {0: uneven[:2]}, "counted": False})
    loss.backward()
    grads = [p.grad for p in trainer.model.parameters() if p.grad is not None]
    assert grads
    assert all(not grad.any() for grad in grads)
    assert set(trainer.means.take()) == {"tokens"}
