from pathlib import Path

import pytest
import torch
from torch import Tensor

from medpref.pairs.pair import Pair


@pytest.fixture
def four(make_image, make_pair) -> list[Pair]:
    """Four pairs, each on an image of its own, with answers of different lengths."""
    answers = ["Yes", "No, the lung is clear.", "A lesion in the upper lobe of the left lung.", "Left"]
    return [
        make_pair(str(n), (make_image(f"{n}.png", n),), chosen=answer, refused="None")
        for n, answer in enumerate(answers)
    ]


def run(make_backbone, make_trainer, four: list[Pair], folder: Path, groups: int, accumulate: int):
    """Return the weights after one step on all four pairs, and the gradient of that step."""
    backbone = make_backbone("mistral")
    trainer = make_trainer(
        backbone,
        "irpo",
        folder=folder,
        data=four,
        steps=1,
        images_per_step=groups,
        accumulate=accumulate,
        learning_rate=1e-5,
        max_grad_norm=1e9,
        warmup_share=0,
    )
    trainer.train()
    # After one step Adam's first moment is a tenth of the gradient.
    moments = [state["exp_avg"].flatten() for state in trainer.optimizer.state.values()]
    return backbone.model.state_dict(), 10 * torch.cat(moments), trainer.state.log_history[0]


def close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).norm() <= 1e-5 * other.norm())


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulating_is_one_large_batch(
    make_backbone, make_trainer, four: list[Pair], tmp_path: Path, accumulate: int
) -> None:
    weights, gradient, row = run(make_backbone, make_trainer, four, tmp_path / "1", 4, 1)
    parts, summed, other = run(make_backbone, make_trainer, four, tmp_path / "2", 4 // accumulate, accumulate)
    assert close(summed, gradient)
    # Adding the parts without dividing, or dividing twice, would be another gradient.
    assert not close(summed * accumulate, gradient)
    assert not close(summed / accumulate, gradient)
    key_bias = "k_proj.bias"  # its gradient is zero but for rounding, which Adam makes as large as any
    for name, value in weights.items():
        if key_bias not in name:
            torch.testing.assert_close(parts[name], value, rtol=0, atol=1e-6)
    for key in ("loss", "nll_loss", "logps/chosen", "rewards/accuracies", "grad_norm"):
        assert other[key] == pytest.approx(row[key], rel=1e-5, abs=1e-5), key
