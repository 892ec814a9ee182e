import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medpref.evaluation.mcnemar import clustered, exact, mcnemar

MARKS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=40)


def test_exact_by_hand() -> None:
    # Of ten discordant samples two or fewer on one side: (1 + 10 + 45) / 1024, and as many on the other.
    assert exact(8, 2) == exact(2, 8) == pytest.approx(112 / 1024)
    assert exact(5, 5) == 1
    assert exact(0, 0) == 1
    assert exact(6, 0) == pytest.approx(2 / 64)


@pytest.mark.parametrize(("b", "c"), [(3, 11), (40, 22), (1, 0), (9, 9)])
def test_exact_equals_the_binomial_test(b: int, c: int) -> None:
    assert exact(b, c) == pytest.approx(stats.binomtest(b, b + c, 0.5).pvalue)


def test_clustered_by_hand() -> None:
    # Sum 2, squares 4 + 1 + 1, four clusters: 3/4 · 4/6 = 1/2; two tails of a normal beyond √½.
    assert clustered(np.array([2, 1, -1, 0])) == pytest.approx(math.erfc(0.5))
    assert clustered(np.array([0, 0])) == 1
    assert math.isnan(clustered(np.array([3])))


def test_clustered_is_obuchowskis_long_form() -> None:
    """The squared difference of the shares by the variance that both have about their common share."""
    rng = np.random.default_rng(5)
    clusters = rng.integers(0, 12, 90)
    first, second = ((rng.random(90) < share).astype(float) for share in (0.7, 0.5))
    right_first, right_second, size = (np.bincount(clusters, x) for x in (first, second, np.ones(90)))
    common = (first.mean() + second.mean()) / 2
    one, two = right_first - size * common, right_second - size * common
    variance = 12 / 11 * (one @ one + two @ two - 2 * one @ two) / 90**2
    expected = stats.chi2.sf((first.mean() - second.mean()) ** 2 / variance, 1)
    assert mcnemar(first, second, clusters).p_clustered == pytest.approx(expected)


def test_one_sample_a_cluster_is_mcnemar_without_continuity() -> None:
    surplus = np.array([1] * 15 + [-1] * 5 + [0] * 80)
    assert clustered(surplus) == pytest.approx(stats.chi2.sf((15 - 5) ** 2 / 20 * 99 / 100, 1))


def test_clusters_that_agree_within_themselves_count_once() -> None:
    # Ten samples of one image that all went the same way are one observation, not ten.
    first, second = np.ones(60), np.zeros(60)
    second[30:] = 1
    clusters = np.arange(60) // 10
    found = mcnemar(first, second, clusters)
    assert (found.b, found.c) == (30, 0)
    assert found.p_exact < 1e-8
    assert 0.05 < found.p_clustered < 0.2


def test_samples_that_one_lacks_do_not_count() -> None:
    found = mcnemar(np.array([1, 1, math.nan, 0]), np.array([0, math.nan, 0, 1]), np.arange(4))
    assert (found.b, found.c) == (1, 1)


@given(MARKS)
def test_swapping_the_methods_swaps_the_counts(marks: list[tuple[int, int, int]]) -> None:
    first, second, clusters = (np.array(column) for column in zip(*marks, strict=True))
    one, two = mcnemar(first, second, clusters), mcnemar(second, first, clusters)
    assert (one.b, one.c, one.p_exact) == (two.c, two.b, two.p_exact)
    assert one.p_clustered == pytest.approx(two.p_clustered, nan_ok=True)


def test_clustered_is_calibrated_where_the_exact_test_is_not() -> None:
    rng = np.random.default_rng(3)
    clusters = np.arange(400) // 8
    rejected = np.zeros(2)
    for _ in range(400):
        # Whether a method is right hangs on the image, for each method by itself.
        first, second = (np.repeat(rng.random(50) < 0.5, 8).astype(float) for _ in range(2))
        found = mcnemar(first, second, clusters)
        rejected += [found.p_exact <= 0.05, found.p_clustered <= 0.05]
    assert rejected[0] / 400 > 0.3
    assert 0.02 <= rejected[1] / 400 <= 0.09
