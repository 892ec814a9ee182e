import pytest
import torch

from medpref.errors import InputError
from medpref.objectives import Scores
from medpref.scoring.cells import Cell
from medpref.training.metrics import Running, RunningMeans, batch_metrics, rises

EXPECTED_BY_USERS = {
    "rewards/chosen",
    "rewards/rejected",
    "rewards/accuracies",
    "rewards/margins",
    "logps/chosen",
    "logps/rejected",
    "nll_loss",
    "rewards/image_margins",
    "rewards/image_accuracies",
    "logps/chosen_rejected_image",
}
CHOSEN, REJECTED, IMAGE = Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED, Cell.REJECTED_CHOSEN


def worked() -> Scores:
    return Scores(
        logps={
            CHOSEN: torch.tensor([-10.0, -6.0]),
            REJECTED: torch.tensor([-9.0, -7.0]),
            IMAGE: torch.tensor([-13.0, -4.0]),
        },
        reference={
            CHOSEN: torch.tensor([-12.0, -5.0]),
            REJECTED: torch.tensor([-8.0, -7.0]),
            IMAGE: torch.tensor([-14.0, -7.0]),
        },
        lengths={cell: torch.tensor([5, 2]) for cell in (CHOSEN, REJECTED, IMAGE)},
    )


def test_metrics_by_hand() -> None:
    # β = 0.1; Δ chosen 2, −1; Δ rejected −1, 0; Δ on the rejected image 1, 3.
    assert batch_metrics(worked(), 0.1) == pytest.approx(
        {
            "logps/chosen": -8,
            "logps/rejected": -8,
            "logps/chosen_rejected_image": -8.5,
            "nll_loss": (10 / 5 + 6 / 2) / 2,
            "rewards/chosen": 0.1 * 0.5,
            "rewards/rejected": 0.1 * -0.5,
            "rewards/margins": 0.1 * 1,
            "rewards/accuracies": 0.5,
            "rewards/chosen_rejected_image": 0.1 * 2,
            "rewards/image_margins": 0.1 * (1 - 4) / 2,
            "rewards/image_accuracies": 0.5,
        }
    )


def test_of_a_minimal_pair_the_reward_is_that_of_the_clean_image() -> None:
    plain, scores = batch_metrics(worked(), 0.1), worked()
    both = Cell.REJECTED_REJECTED
    minimal = Scores(
        logps={**scores.logps, both: torch.tensor([-1.0, -1.0])},
        reference={**scores.reference, both: torch.tensor([-9.0, -9.0])},
        lengths={**scores.lengths, both: torch.tensor([1, 1])},
    )
    # The rejected response is right on the rejected image: that it gained there is no failure.
    assert batch_metrics(minimal, 0.1) == {**plain, "logps/rejected_rejected_image": -1.0}


def test_the_names_are_those_that_users_expect() -> None:
    names = set(batch_metrics(worked(), 0.1))
    assert names >= EXPECTED_BY_USERS
    assert names - EXPECTED_BY_USERS == {"rewards/chosen_rejected_image"}


def test_equal_rewards_are_no_success() -> None:
    scores = worked()
    same = Scores(scores.logps, scores.logps, scores.lengths)
    assert batch_metrics(same, 0.1)["rewards/accuracies"] == 0


def test_metrics_carry_no_gradient() -> None:
    scores = worked()
    logps = {cell: values.requires_grad_() for cell, values in scores.logps.items()}
    made = batch_metrics(Scores(logps, scores.reference, scores.lengths), 0.1)
    assert all(type(value) is float for value in made.values())


def test_means_start_anew_after_each_line() -> None:
    means = RunningMeans()
    means.add({"a": 1.0}, 1)
    means.add({"a": 3.0, "b": 5.0}, 1)
    assert means.take() == {"a": 2.0, "b": 5.0}
    assert means.take() == {}
    means.add({"a": 7.0}, 1)
    assert means.take() == {"a": 7.0}


def test_means_weigh_batches_by_their_pairs() -> None:
    means = RunningMeans()
    means.add({"a": 1.0, "weights/min": 0.5, "weights/max": 1.0, "tokens": 10}, 1)
    means.add({"a": 5.0, "weights/min": 0.75, "weights/max": 1.25, "tokens": 5}, 3)
    assert means.take() == {"a": 4.0, "weights/min": 0.5, "weights/max": 1.25, "tokens": 15}


def test_means_are_of_all_processes() -> None:
    means = RunningMeans()
    means.add({"a": 1.0, "mine": 2.0}, 1)
    others = {"a": Running(5.0, 3), "theirs": Running(8.0, 2)}
    assert means.take(lambda own: [own, others]) == {"a": 4.0, "mine": 2.0, "theirs": 8.0}


def test_weights_are_told() -> None:
    scores = worked()
    weighed = Scores(scores.logps, scores.reference, scores.lengths, torch.tensor([0.75, 1.25]))
    made = batch_metrics(weighed, 0.1)
    assert (made["weights/min"], made["weights/mean"], made["weights/max"]) == (0.75, 1.0, 1.25)


@pytest.mark.parametrize(
    ("name", "up"),
    [
        ("eval_loss", False),
        ("loss", False),
        ("eval_loss/text", False),
        ("eval_nll_loss", False),
        ("eval_rewards/accuracies", True),
        ("eval_rewards/image_margins", True),
    ],
)
def test_which_way_a_metric_gets_better(name: str, up: bool) -> None:
    assert rises(name) is up


def test_an_unknown_goal_is_an_error_that_suggests_one() -> None:
    with pytest.raises(InputError, match="Did you mean 'rewards/accuracies'"):
        rises("eval_rewards/accuracy")
