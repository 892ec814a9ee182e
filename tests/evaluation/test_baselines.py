import pytest

from medpref.evaluation.baselines import BASELINES, Answered, majority, majority_by_kind, word_dump

TRAIN = [
    Answered(("presence",), True, "Yes"),
    Answered(("presence",), True, "yes"),
    Answered(("presence",), True, "yes"),
    Answered(("plane",), True, "no"),
    Answered(("plane",), True, "No."),
    Answered(("plane",), True, "no"),
    Answered(("plane",), True, "no"),
    Answered(("organ", "position"), False, "Left lung"),
    Answered(("organ",), False, "left lung"),
    Answered(("organ",), False, "left lung"),
    Answered(("count",), False, "two"),
]


def test_majority_answers_each_sort() -> None:
    answer = majority(TRAIN)
    assert answer(("presence",), True) == "no"
    assert answer(("presence",), False) == "left lung"


def test_majority_by_kind_uses_the_first_kind() -> None:
    answer = majority_by_kind(TRAIN)
    assert answer(("presence", "plane"), True) == "yes"
    assert answer(("plane",), True) == "no"
    assert answer(("count",), False) == "two"


@pytest.mark.parametrize("kinds", [("never-seen",), ()])
def test_an_unknown_kind_gets_the_majority(kinds: tuple[str, ...]) -> None:
    assert majority_by_kind(TRAIN)(kinds, True) == "no"


def test_ties_go_to_the_first_in_the_alphabet() -> None:
    train = [Answered((), False, answer) for answer in ("spleen", "Brain", "brain", "spleen")]
    assert majority(train)((), False) == "Brain"
    assert majority(reversed(train))((), False) == "Brain"


def test_word_dump_ranks_words() -> None:
    assert word_dump(TRAIN)((), True) == "left lung 2"
    assert word_dump(TRAIN, size=2)((), False) == "left lung"


@pytest.mark.parametrize("name", ["majority", "majority-by-kind", "word-dump"])
def test_without_training_data_there_is_nothing_to_say(name: str) -> None:
    assert BASELINES[name]([])(("presence",), True) == ""


def test_the_constant_needs_no_training_data() -> None:
    assert BASELINES["yes-or-no"]([])((), False) == "yes or no"
