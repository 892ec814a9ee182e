import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpref.evaluation.scores.open import score_open

WORDS = st.lists(st.sampled_from(["left", "right", "lung", "lobe", "upper"]), min_size=1, max_size=8)


def test_overlap_by_hand() -> None:
    # Answer: left left lung mass (4 tokens, 3 distinct); reference: left lung (2). Shared: left, lung.
    score = score_open("left left lung, mass", "The left lung")
    assert score is not None
    assert score.exact_match == 0
    assert score.token_recall == pytest.approx(2 / 2)
    assert score.token_precision == pytest.approx(2 / 4)
    assert score.token_f1 == pytest.approx(2 * 2 / (4 + 2))
    assert score.token_f1_set == pytest.approx(2 * 2 / (3 + 2))


def test_a_repeated_word_in_the_reference_wants_repeating() -> None:
    score = score_open("left", "left left")
    assert score is not None
    assert score.token_recall == pytest.approx(1 / 2)
    assert score.token_f1_set == 1


@pytest.mark.parametrize("nothing", ["", "  ", "?!"])
def test_an_empty_answer_scores_nothing(nothing: str) -> None:
    assert score_open(nothing, "lung") == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("nothing", ["", "  ", "?!"])
def test_an_empty_reference_is_unscored(nothing: str) -> None:
    assert score_open("lung", nothing) is None
    assert score_open("", nothing) is None


def test_equal_answers_score_one() -> None:
    assert score_open("Two lesions", "2 lesions.") == (1, 1, 1, 1, 1)


def test_the_names_are_those_of_the_logs() -> None:
    score = score_open("lung", "lung")
    assert score is not None
    assert list(score.scores()) == (
        ["exact_match", "token_f1", "token_f1_set", "token_recall", "token_precision"]
    )


@given(WORDS, WORDS)
def test_f1_is_the_harmonic_mean(answer: list[str], reference: list[str]) -> None:
    score = score_open(" ".join(answer), " ".join(reference))
    assert score is not None
    precision, recall = score.token_precision, score.token_recall
    expected = 2 * precision * recall / (precision + recall) if precision + recall else 0
    assert score.token_f1 == pytest.approx(expected)
    assert all(0 <= value <= 1 for value in score)


@given(WORDS, WORDS, st.integers(2, 20))
def test_repetition_earns_nothing(answer: list[str], reference: list[str], times: int) -> None:
    distinct = sorted(set(reference))
    once = score_open(" ".join(answer), " ".join(distinct))
    often = score_open(" ".join(sorted(set(answer)) * times), " ".join(distinct))
    assert once is not None
    assert often is not None
    assert often.token_recall == pytest.approx(once.token_recall)
    assert often.token_precision <= 1 / times * len(distinct)
