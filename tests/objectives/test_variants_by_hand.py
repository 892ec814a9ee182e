"""The losses beyond the study's five, worked out by hand on one pair.

log π(yw) = −2, reference −3, two tokens; log π(yl) = −6, reference −4, three tokens; log π(yw|m') = −5,
reference −4.5. So Δw = 1, Δl = −2, h = 3, Δ' = −0.5; mean log-probs a token are −1 and −2.
"""

import math

import pytest
import torch
from tests.objectives.conftest import with_tokens

from medpref.objectives import Scores, objectives
from medpref.scoring.cells import Cell


def tensor(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float32)


def scores(chosen: float = -2.0, rejected: float = -6.0) -> Scores:
    cells = (Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED, Cell.REJECTED_CHOSEN)
    made = Scores(
        logps=dict(zip(cells, map(tensor, (chosen, rejected, -5.0)), strict=True)),
        reference=dict(zip(cells, map(tensor, (-3.0, -4.0, -4.5)), strict=True)),
        lengths=dict(zip(cells, map(torch.tensor, ([2], [3], [2])), strict=True)),
    )
    return with_tokens(made)


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


EXPECTED = [
    # 1/2 − (−2/3) − 1/(2·0.5) = 1/6
    ("ipo", {"beta": 0.5}, (1 / 6) ** 2),
    # βh = 1.5
    (
        "cdpo",
        {"beta": 0.5, "label_smoothing": 0.2},
        -0.8 * math.log(sigma(1.5)) - 0.2 * math.log(sigma(-1.5)),
    ),
    (
        "robust",
        {"beta": 0.5, "label_smoothing": 0.2},
        (-0.8 * math.log(sigma(1.5)) + 0.2 * math.log(sigma(-1.5))) / 0.6,
    ),
    ("hinge", {"beta": 0.1}, 0.7),
    ("hinge", {"beta": 0.5}, 0.0),
    # 2·(−1 + 2) − 0.5 = 1.5
    ("simpo", {"beta": 2.0, "gamma": 0.5}, -math.log(sigma(1.5))),
    # the odds of e^-1 and e^-2 are 1/(e − 1) and 1/(e² − 1): their ratio is e + 1
    ("orpo", {"weight": 0.25}, 1 - 0.25 * math.log(sigma(math.log(math.e + 1)))),
    # Δw is positive: nothing was lost
    ("dpop", {"beta": 0.5, "penalty": 5.0}, -math.log(sigma(1.5))),
    ("apo_zero", {"beta": 0.5}, 1 - sigma(0.5) + sigma(-1.0)),
    # The rejected response has −2/3 a token, and its third counts by a quarter: 1 + 2/3 + 2/3 + 1/6 = 2.5
    ("ld_dpo", {"beta": 0.5, "ld_alpha": 0.25}, -math.log(sigma(1.25))),
    # Δw − Δ' = 1.5
    ("chip_visual", {"beta": 0.5, "visual_weight": 2.0}, -math.log(sigma(1.5)) - 2 * math.log(sigma(0.75))),
]


@pytest.mark.parametrize(("name", "settings", "expected"), EXPECTED)
def test_by_hand(name: str, settings: dict[str, float], expected: float) -> None:
    loss = objectives[name].loss(scores(), **settings)
    assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_dpop_punishes_a_chosen_response_that_lost() -> None:
    # Δw = −1, h = 1, 0.1·(1 − 5·1) = −0.4
    loss = objectives["dpop"].loss(scores(chosen=-4.0), beta=0.1, penalty=5.0)
    assert loss.item() == pytest.approx(-math.log(sigma(-0.4)), rel=1e-5)


def test_ld_dpo_on_uneven_tokens_and_either_side_longer() -> None:
    cells = (Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED)
    # Log-ratios: chosen (1, 2, 4) against rejected (−1), then chosen (3) against rejected (1, −2).
    tokens = (torch.tensor([[1.0, 2.0, 4.0], [3.0, 0.0, 0.0]]), torch.tensor([[-1.0, 0.0], [1.0, -2.0]]))
    given = Scores(
        logps=dict(zip(cells, [table.sum(1) for table in tokens], strict=True)),
        reference=dict.fromkeys(cells, torch.zeros(2)),
        lengths=dict(zip(cells, [torch.tensor([3, 1]), torch.tensor([1, 2])], strict=True)),
        tokens=dict(zip(cells, tokens, strict=True)),
        reference_tokens=dict(zip(cells, [torch.zeros(2, 3), torch.zeros(2, 2)], strict=True)),
    )
    # 1 + ½·(2 + 4) − (−1) = 5 and 3 − (1 + ½·(−2)) = 3, times 0.1
    loss = objectives["ld_dpo"].loss(given, beta=0.1, ld_alpha=0.5)
    assert loss.tolist() == pytest.approx([-math.log(sigma(0.5)), -math.log(sigma(0.3))], rel=1e-5)


@pytest.mark.parametrize("name", ["simpo", "orpo"])
def test_no_reference_is_read_where_none_is_declared(name: str) -> None:
    bare = Scores(scores().logps, {}, scores().lengths)
    assert not objectives[name].needs_reference
    assert torch.isfinite(objectives[name].loss(bare)).all()


@pytest.mark.parametrize("name", [name for name, _, _ in EXPECTED])
@pytest.mark.parametrize("size", [0.0, 1e-7, 500.0])
def test_finite_with_a_finite_gradient_at_extreme_values(name: str, size: float) -> None:
    plain = scores(chosen=-size, rejected=-size)
    for values in plain.logps.values():
        values.requires_grad_()
    extreme = with_tokens(plain)
    loss = objectives[name].loss(extreme)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    gradients = [values.grad for values in extreme.logps.values() if values.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
