"""Krippendorff's α, nominal and ordinal: the worked example of his book, and counted by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpref.evaluation.agreement import krippendorff_alpha_nominal
from medpref.evaluation.alpha import alpha, alpha_interval, coincidences

# Content Analysis, 2nd ed., sec. 11.3: four observers, twelve units, five values; 0 stands for nothing said.
BOOK = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3),
    (0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0),
)
UNITS = [[value or None for value in unit] for unit in zip(*BOOK, strict=True)]
CLUSTERS = [str(number) for number in range(12)]


def test_the_books_example() -> None:
    nominal = alpha_interval(UNITS, CLUSTERS, (1, 2, 3, 4, 5))
    ordinal = alpha_interval(UNITS, CLUSTERS, (1, 2, 3, 4, 5), ordered=True)
    assert round(nominal.value, 3) == 0.743
    assert round(ordinal.value, 3) == 0.815
    assert nominal.n == ordinal.n == 11
    assert nominal.low < nominal.value < nominal.high <= 1


def test_ordinal_by_hand() -> None:
    # Two raters, three things: aa, ab, cc. n(a) = 3, n(b) = 1, n(c) = 2, middles of ranks 1.5, 3.5, 5.
    # D_o = 2·(3.5 − 1.5)²/6 = 4/3; D_e = 2·(3·1·4 + 3·2·12.25 + 1·2·2.25)/30 = 6; α = 1 − 4/18.
    units = [("a", "a"), ("a", "b"), ("c", "c")]
    found = alpha_interval(units, ["1", "2", "3"], ("a", "b", "c"), ordered=True)
    assert found.value == pytest.approx(1 - 4 / 18)
    # The farther apart, the worse.
    worse = alpha_interval(
        [("a", "a"), ("a", "c"), ("b", "b")], ["1", "2", "3"], ("a", "b", "c"), ordered=True
    )
    assert worse.value < found.value


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=3, max_size=3), max_size=12))
def test_nominal_is_what_counting_gives(units: list[list[str | None]]) -> None:
    found = alpha_interval(units, [str(number) for number in range(len(units))], ("a", "b", "c"))
    counted = krippendorff_alpha_nominal(units)
    assert found.value == pytest.approx(counted) if counted is not None else math.isnan(found.value)


def test_whole_clusters_are_drawn() -> None:
    units = [("a", "a"), ("b", "b"), ("a", "b")] * 6
    one = alpha_interval(units, ["all"] * 18, ("a", "b"))
    assert math.isnan(one.low)
    each = alpha_interval(units, [str(number) for number in range(18)], ("a", "b"))
    triples = alpha_interval(units, [str(number // 3) for number in range(18)], ("a", "b"))
    assert each.value == triples.value == one.value
    # Every cluster holds the same, so that resamples do not differ.
    assert triples.high - triples.low == pytest.approx(0)
    assert each.high - each.low > 0.2


def test_many_matrices_at_once_give_each_ones_alpha() -> None:
    first = sum(coincidences(unit, (1, 2, 3, 4, 5)) for unit in UNITS[:6])
    second = sum(coincidences(unit, (1, 2, 3, 4, 5)) for unit in UNITS[6:])
    both = alpha(np.stack([first, second]), ordered=True)
    assert both.tolist() == [float(alpha(first, ordered=True)), float(alpha(second, ordered=True))]


def test_an_unknown_label_is_refused() -> None:
    with pytest.raises(ValueError, match="not in"):
        alpha_interval([("a", "z")], ["1"], ("a", "b"))
