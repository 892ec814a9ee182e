from statistics import mean

import pytest

from medpref.evaluation.baselines import BASELINES, Answered
from medpref.evaluation.scores.closed import score_closed
from medpref.evaluation.scores.legacy import legacy_closed, legacy_normalise, legacy_open_recall
from medpref.evaluation.scores.open import score_open


@pytest.mark.parametrize(
    ("prediction", "gold", "expected"),
    [
        ("yes or no", "yes", 1.0),
        ("yes or no", "no", 1.0),
        ("The image is normal.", "no", 1.0),
        ("I do not know", "No", 1.0),
        ("yesterday", "Yes", 1.0),
        ("left", "left", 0.0),
        ("no, left", "left", 1.0),
        ("", "no", 0.0),
    ],
)
def test_yes_and_no_are_substrings(prediction: str, gold: str, expected: float) -> None:
    assert legacy_closed(prediction, gold) == expected


def test_the_constant_answer_is_right_about_every_yes_no_question() -> None:
    golds = ["yes", "no", "No", "Yes", "no", "MRI"]
    answer = BASELINES["yes-or-no"]([])([], True)
    assert mean(legacy_closed(answer, gold) for gold in golds) == pytest.approx(5 / 6)
    assert not any(score_closed(answer, gold).correct for gold in golds)


def test_repeating_one_right_word_approaches_one() -> None:
    # Nine hits of "left", one miss ("lung"): 9 / 10. Counted as multisets it is 1 of 2.
    answer = " ".join(["left"] * 9)
    assert legacy_open_recall(answer, "left lung") == pytest.approx(0.9)
    score = score_open(answer, "left lung")
    assert score is not None
    assert score.token_recall == pytest.approx(0.5)


def test_dumping_common_words_scores_high() -> None:
    train = [
        Answered(("position",), False, answer) for answer in ("left lung", "right lung", "liver", "brain")
    ]
    dump = BASELINES["word-dump"](train)((), False)
    golds = ["lung", "left lung", "liver", "brain", "spleen"]
    assert mean(legacy_open_recall(dump, gold) for gold in golds) == pytest.approx(4 / 5)
    scores = [score_open(dump, gold) for gold in golds]
    assert mean(score.token_precision for score in scores if score) == pytest.approx((1 + 2 + 1 + 1) / 5 / 5)


@pytest.mark.parametrize(("prediction", "gold"), [("", "lung"), ("lung", ""), ("the", "lung")])
def test_empty_sides_score_zero(prediction: str, gold: str) -> None:
    assert legacy_open_recall(prediction, gold) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The T2-weighted image", "t2 weighted image"),
        ("left, right", "left right"),
        ("None", "0"),
        ("1.5 cm.", "1.5 cm"),
        ("x - ray t2-w", "x ray t2w"),
    ],
)
def test_legacy_spelling(text: str, expected: str) -> None:
    assert legacy_normalise(text) == expected
