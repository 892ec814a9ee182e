"""Two pairs worked by hand, β = 0.1.

            log π          log π_ref      Δ
pair        1      2       1      2       1      2
m,  yw    −10     −6     −12     −5      +2     −1
m,  yl     −9     −7      −8     −7      −1      0
m', yw    −13.5   −4     −14     −7      +0.5   +3
m', yl    −20     −8     −16     −8      −4      0
"""

import pytest
import torch

from medpref.objectives import Scores, objectives
from medpref.scoring.cells import Cell

# −log σ(x) = log(1 + e^−x)
SOFTPLUS = {
    0.3: 0.554355244468527,  # log(1 + 0.740818220682)
    -0.1: 0.744396660073571,  # log(1 + 1.105170918076)
    0.15: 0.620957047789532,  # log(1 + 0.860707976425)
    -0.4: 0.913015252399953,  # log(1 + 1.491824697641)
    0.2: 0.598138869381592,  # log(1 + 0.818730753078)
    0.6: 0.437487950485886,  # log(1 + 0.548811636094)
    -0.3: 0.854355244468527,
    -0.6: 1.037487950485886,
}


def worked(weight: torch.Tensor | None = None) -> Scores:
    chosen, rejected, image, both = (
        Cell.CLEAN_CHOSEN,
        Cell.CLEAN_REJECTED,
        Cell.REJECTED_CHOSEN,
        Cell.REJECTED_REJECTED,
    )
    return Scores(
        logps={
            chosen: torch.tensor([-10.0, -6.0]),
            rejected: torch.tensor([-9.0, -7.0]),
            image: torch.tensor([-13.5, -4.0]),
            both: torch.tensor([-20.0, -8.0]),
        },
        reference={
            chosen: torch.tensor([-12.0, -5.0]),
            rejected: torch.tensor([-8.0, -7.0]),
            image: torch.tensor([-14.0, -7.0]),
            both: torch.tensor([-16.0, -8.0]),
        },
        lengths={
            chosen: torch.tensor([5, 2]),
            rejected: torch.tensor([3, 4]),
            image: torch.tensor([5, 2]),
            both: torch.tensor([3, 4]),
        },
        weight=weight,
    )


def check(losses: torch.Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(losses, torch.tensor(expected), rtol=1e-6, atol=1e-6)


def test_dpo() -> None:
    # Margins: 2 − (−1) = 3 and −1 − 0 = −1.
    check(objectives["dpo"].loss(worked()), [SOFTPLUS[0.3], SOFTPLUS[-0.1]])


def test_dpo_beta() -> None:
    # β = 0.2: 0.2 · 3 = 0.6 and 0.2 · −1 = −0.2; −log σ(−0.2) = 0.598138869 + 0.2.
    check(objectives["dpo"].loss(worked(), beta=0.2), [SOFTPLUS[0.6], SOFTPLUS[0.2] + 0.2])


def test_irpo() -> None:
    # NLL per token: 10 / 5 = 2 and 6 / 2 = 3.
    check(objectives["irpo"].loss(worked()), [SOFTPLUS[0.3] + 2, SOFTPLUS[-0.1] + 3])


def test_irpo_alpha() -> None:
    check(objectives["irpo"].loss(worked(), alpha=0.5), [SOFTPLUS[0.3] + 1, SOFTPLUS[-0.1] + 1.5])
    check(objectives["irpo"].loss(worked(), alpha=0.0), [SOFTPLUS[0.3], SOFTPLUS[-0.1]])


def test_copo() -> None:
    # Margins: 2 − 0.5 = 1.5 and −1 − 3 = −4.
    check(objectives["copo"].loss(worked()), [SOFTPLUS[0.15], SOFTPLUS[-0.4]])


def test_mdpo() -> None:
    # The anchor: −log σ(0.1 · 2) and −log σ(0.1 · −1).
    check(
        objectives["mdpo"].loss(worked()),
        [
            SOFTPLUS[0.3] + SOFTPLUS[0.15] + SOFTPLUS[0.2],
            SOFTPLUS[-0.1] + SOFTPLUS[-0.4] + SOFTPLUS[-0.1],
        ],
    )


def test_mdpo_delta_moves_only_the_anchor() -> None:
    # δ = 0.5 is subtracted after β: 0.2 − 0.5 = −0.3 and −0.1 − 0.5 = −0.6.
    check(
        objectives["mdpo"].loss(worked(), delta=0.5),
        [
            SOFTPLUS[0.3] + SOFTPLUS[0.15] + SOFTPLUS[-0.3],
            SOFTPLUS[-0.1] + SOFTPLUS[-0.4] + SOFTPLUS[-0.6],
        ],
    )


def test_mmedpo() -> None:
    # Margins: 2 − (−4) = 6 and −1 − 0 = −1; weights 1.25 and 0.75.
    weight = torch.tensor([1.25, 0.75])
    check(objectives["mmedpo"].loss(worked(weight)), [1.25 * SOFTPLUS[0.6], 0.75 * SOFTPLUS[-0.1]])


def test_sft() -> None:
    check(objectives["sft"].loss(worked()), [2.0, 3.0])


@pytest.mark.parametrize("name", ["dpo", "copo", "mmedpo"])
def test_a_policy_equal_to_its_reference_loses_log_two(name: str) -> None:
    scores = worked(torch.ones(2))
    same = Scores(scores.logps, scores.logps, scores.lengths, scores.weight)
    check(objectives[name].loss(same), [0.693147180559945] * 2)
