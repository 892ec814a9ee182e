from itertools import combinations
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from medpref.evaluation.ranking import Rank, group_letters, rank

ABC = ["a", "b", "c"]


def test_nothing_separated_is_one_group() -> None:
    assert rank(ABC, []) == dict.fromkeys(ABC, Rank(1, 3, "a"))


def test_all_separated_is_a_ranking() -> None:
    found = rank(ABC, [("a", "b"), ("a", "c"), ("b", "c")])
    assert found == {"a": Rank(1, 1, "a"), "b": Rank(2, 2, "b"), "c": Rank(3, 3, "c")}


def test_the_middle_may_belong_to_both_sides() -> None:
    assert rank(ABC, [("a", "c")]) == {"a": Rank(1, 2, "a"), "b": Rank(1, 3, "ab"), "c": Rank(2, 3, "b")}


def test_one_best_and_the_rest() -> None:
    assert rank(ABC, [("b", "a"), ("b", "c")])["b"] == Rank(1, 1, "b")


@given(st.integers(1, 9), st.randoms(use_true_random=False))
def test_letters_are_shared_exactly_where_not_separated(count: int, random: Random) -> None:
    methods = [f"m{number}" for number in range(count)]
    separated = [pair for pair in combinations(methods, 2) if random.random() < 0.5]
    letters = group_letters(methods, separated)
    for one, two in combinations(methods, 2):
        assert bool(set(letters[one]) & set(letters[two])) == ((one, two) not in separated)
    assert all(letters.values())
    assert group_letters(methods, [pair[::-1] for pair in separated]).keys() == letters.keys()
