import pytest

from medpref.evaluation.scores.attack import attack_closed, attack_open, word_dump


def test_the_constant_answer_by_hand() -> None:
    found = {row.score: (row.value, row.n) for row in attack_closed(["yes", "no", "no", "left"])}
    assert found["legacy_closed"] == (3 / 4, 4), "left is no substring of it"
    assert found["legacy_multimedeval_closed"] == (1, 3), "of the yes/no questions"
    assert found["accuracy"] == (0, 4)
    assert found["balanced_accuracy"] == (0, 4)
    assert found["unparsed_rate"] == (3 / 4, 4), (
        "left without known choices makes any other answer a wrong one"
    )


def test_the_word_dump_by_hand() -> None:
    # Words by frequency: lung 3, left 2, liver 1 (before brain).
    dump = word_dump(["left lung", "lung", "left lung", "liver", "brain"], size=3)
    assert dump == "lung left liver"
    found = {row.score: (row.value, row.n) for row in attack_open(["left lung", "brain", "?"], dump, "dump")}
    assert found["legacy_open_recall"] == (pytest.approx((1 + 0 + 0) / 3), 3)
    assert found["token_precision"] == (pytest.approx((2 / 3 + 0) / 2), 2), (
        "a reference without words is left out"
    )
    assert found["exact_match"] == (0, 2)


def test_nothing_to_attack() -> None:
    assert attack_open([], "lung", "dump") == []
    assert all(row.n == 0 for row in attack_closed([]))
