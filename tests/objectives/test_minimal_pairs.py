"""The two-by-two loss, by hand, and what it does not reward."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medpref.objectives import Scores, objectives
from medpref.scoring.cells import Cell

LOSS = objectives["minimal_pair"].loss
CELLS = (Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED, Cell.REJECTED_CHOSEN, Cell.REJECTED_REJECTED)
NATS = st.floats(-50, 50, width=32)


def scores(*deltas: float) -> Scores:
    """Return scores whose log-ratios in the order of `CELLS` are `deltas`."""
    return Scores(
        logps={
            cell: torch.tensor([-3.0 + d], dtype=torch.float64) for cell, d in zip(CELLS, deltas, strict=True)
        },
        reference={cell: torch.tensor([-3.0], dtype=torch.float64) for cell in CELLS},
        lengths={cell: torch.tensor([2]) for cell in CELLS},
    )


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_by_hand() -> None:
    # a = 1 − (−2) = 3 and b = 2 − 0.5 = 1.5; β = 0.5: βa = 1.5, βb = 0.75, β(a + b)/2 = 1.125
    made = scores(1.0, -2.0, 0.5, 2.0)
    each = -(math.log(sigma(1.5)) + math.log(sigma(0.75))) / 2
    together = -math.log(sigma(1.125))
    assert float(LOSS(made, beta=0.5, both=0.0)) == pytest.approx(each)
    assert float(LOSS(made, beta=0.5, both=1.0)) == pytest.approx(together)
    assert float(LOSS(made, beta=0.5, both=0.25)) == pytest.approx(0.75 * each + 0.25 * together)


def test_without_images_it_is_dpo_against_itself() -> None:
    # The same margin on both images, whatever they show: a = −b.
    assert float(LOSS(scores(4.0, 1.0, 4.0, 1.0), both=1.0)) == pytest.approx(math.log(2))
    assert float(LOSS(scores(4.0, 1.0, 4.0, 1.0), both=0.0)) > math.log(2)


@given(NATS, NATS, NATS, NATS, NATS, NATS)
def test_what_an_answer_is_worth_without_the_image_cancels(
    a: float, b: float, c: float, d: float, chosen: float, rejected: float
) -> None:
    before = LOSS(scores(a, b, c, d), both=1.0)
    after = LOSS(scores(a + chosen, b + rejected, c + chosen, d + rejected), both=1.0)
    assert float(after) == pytest.approx(float(before), abs=1e-6)


@given(NATS, NATS, NATS, NATS)
def test_the_images_are_alike(a: float, b: float, c: float, d: float) -> None:
    assert float(LOSS(scores(a, b, c, d))) == pytest.approx(float(LOSS(scores(d, c, b, a))))


def test_sft_on_both_images_by_hand() -> None:
    # log-probs −3 + 1 = −2 over 2 tokens and −3 + 2 = −1 over 4; the mean of 1 and 0.25 nats a token
    made = scores(1.0, -2.0, 0.5, 2.0)
    made.lengths[Cell.REJECTED_REJECTED] = torch.tensor([4])
    assert float(objectives["sft_both"].loss(made)) == pytest.approx((2 / 2 + 1 / 4) / 2)


def test_the_nll_term_is_its_control() -> None:
    made = scores(1.0, -2.0, 0.5, 2.0)
    plain, control = LOSS(made, beta=0.5), objectives["sft_both"].loss(made)
    assert float(LOSS(made, beta=0.5, alpha=0.3)) == pytest.approx(float(plain + 0.3 * control))
