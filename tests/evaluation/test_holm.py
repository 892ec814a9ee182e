import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpref.evaluation.holm import holm

NAN = math.nan


def test_holm_by_hand() -> None:
    # Ascending: .005·4 = .02, .011·3 = .033, .02·2 = .04, .04·1 -> .04; the order given is kept.
    assert holm([0.011, 0.04, 0.005, 0.02]) == pytest.approx([0.033, 0.04, 0.02, 0.04])
    assert holm([0.03, 0.04]) == pytest.approx([0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_leaves_out_tests_that_could_not_be_made() -> None:
    corrected = holm([0.02, NAN, 0.01])
    assert math.isnan(corrected[1])
    assert [corrected[0], corrected[2]] == pytest.approx([0.02, 0.02])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_a_p_value_and_keeps_the_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(p <= c <= 1 for p, c in zip(p_values, corrected, strict=True))
    ranked = [c for _, c in sorted(zip(p_values, corrected, strict=True))]
    assert ranked == sorted(ranked)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms())
def test_holm_does_not_depend_on_the_order(p_values: list[float], random: Random) -> None:
    places = list(range(len(p_values)))
    random.shuffle(places)
    corrected = holm(p_values)
    assert holm([p_values[place] for place in places]) == [corrected[place] for place in places]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 1))
def test_one_more_test_never_lowers_the_others(p_values: list[float], another: float) -> None:
    larger = holm([*p_values, another])
    assert all(more >= less for more, less in zip(larger, holm(p_values), strict=False))
