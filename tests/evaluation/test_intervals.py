import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpref.evaluation.columns import Columns
from medpref.evaluation.intervals import (
    ClusterBootstrap,
    balanced_accuracy_interval,
    mean_interval,
    paired_difference,
)

NAN = math.nan


def test_the_estimate_is_the_mean_over_samples_not_over_clusters() -> None:
    estimate = mean_interval(np.array([1.0, 1.0, 1.0, 0.0]), ["a", "a", "a", "b"])
    assert estimate.value == pytest.approx(0.75)
    assert estimate.n == 4
    # The four equally likely pairs of clusters are aa, ab, ba and bb: means 1, .75, .75 and 0.
    assert (estimate.low, estimate.high) == (0.0, 1.0)


def test_the_interval_equals_the_loop_that_defines_it() -> None:
    rng = np.random.default_rng(5)
    values, codes = rng.random(60), rng.integers(0, 12, 60)
    clusters = [f"c{code:02}" for code in codes]
    bootstrap = ClusterBootstrap(clusters, resamples=300, seed=9)
    assert bootstrap.weights.sum(axis=1).tolist() == [bootstrap.count] * 300
    names = sorted(set(clusters))
    means = []
    for weights in bootstrap.weights:
        sample = [
            value
            for name, times in zip(names, weights, strict=True)
            for value in [v for v, c in zip(values, clusters, strict=True) if c == name] * int(times)
        ]
        means.append(np.mean(sample))
    estimate = mean_interval(values, clusters, resamples=300, seed=9)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_equal_seeds_are_bit_identical_and_others_differ() -> None:
    values, clusters = np.random.default_rng(0).random(100), [str(i // 3) for i in range(100)]
    assert mean_interval(values, clusters, seed=4) == mean_interval(values, clusters, seed=4)
    assert mean_interval(values, clusters, seed=4) != mean_interval(values, clusters, seed=5)


def test_nothing_scored_is_explicit() -> None:
    for values, clusters in ((np.array([]), []), (np.array([NAN, NAN]), ["a", "b"])):
        estimate = mean_interval(values, clusters)
        assert estimate.n == 0
        assert all(math.isnan(x) for x in estimate[:3])


def test_one_cluster_has_a_value_but_no_interval() -> None:
    estimate = mean_interval(np.array([0.0, 1.0, NAN]), ["a", "a", "b"])
    assert (estimate.value, estimate.n) == (0.5, 2)
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)
    assert math.isnan(paired_difference(np.ones(2), np.zeros(2), ["a", "a"]).p_value)


def test_all_equal_has_no_width() -> None:
    estimate = mean_interval(np.full(9, 0.25), [str(i) for i in range(9)])
    assert estimate == (0.25, 0.25, 0.25, 9)


def test_unscored_samples_do_not_count() -> None:
    with_gaps = mean_interval(np.array([1.0, NAN, 0.0, 1.0]), ["a", "a", "b", "c"])
    assert with_gaps.value == pytest.approx(2 / 3)
    assert with_gaps.n == 3


def test_clusters_widen_the_interval_of_dependent_samples() -> None:
    values = np.repeat(np.random.default_rng(1).integers(0, 2, 40).astype(float), 10)
    clustered = mean_interval(values, [str(i // 10) for i in range(400)])
    naive = mean_interval(values, [str(i) for i in range(400)])
    assert clustered.high - clustered.low > 2.5 * (naive.high - naive.low)


def test_coverage_on_clustered_data() -> None:
    """Of 300 simulated studies about 95 % cover the truth; ignoring the clusters covers far fewer."""
    rng = np.random.default_rng(2)
    clusters = [str(i // 6) for i in range(360)]
    single = [str(i) for i in range(360)]
    covered = np.zeros(2)
    for seed in range(300):
        difficulty = np.repeat(rng.beta(1.2, 0.8, 60), 6)  # mean 0.6
        values = (rng.random(360) < difficulty).astype(float)
        for position, groups in enumerate((clusters, single)):
            estimate = mean_interval(values, groups, resamples=400, seed=seed)
            covered[position] += estimate.low <= 0.6 <= estimate.high
    assert 0.90 <= covered[0] / 300 <= 0.98
    assert covered[1] / 300 < 0.80


def test_balanced_accuracy_by_hand() -> None:
    correct = np.array([1.0, 1.0, 0.0, 1.0, NAN])
    positive = np.array([True, True, True, False, False])
    estimate = balanced_accuracy_interval(correct, positive, list("abcde"))
    assert estimate.value == pytest.approx((2 / 3 + 1) / 2)
    assert estimate.n == 4
    assert estimate.low < estimate.value < estimate.high


def test_balanced_accuracy_wants_both_answers() -> None:
    estimate = balanced_accuracy_interval(np.ones(3), np.ones(3, dtype=bool), list("abc"))
    assert math.isnan(estimate.value)
    assert estimate.n == 0


def test_one_missing_column_spoils_no_other_statistic() -> None:
    values = np.array([[1.0, NAN, 0.0], [0.0, NAN, 1.0]])
    draws = ClusterBootstrap(["a", "b"]).draw(Columns(values, np.array([0, 1, 1])))
    assert draws.value[0] == 0.5
    assert math.isnan(draws.value[1])
    assert not np.isnan(draws.resampled[:, 0]).any()


def test_the_paired_difference_by_hand() -> None:
    first, second = np.array([1.0, 1.0, 0.0, NAN]), np.array([0.0, 1.0, 0.0, 1.0])
    difference = paired_difference(first, second, list("abcd"))
    assert difference.value == pytest.approx(1 / 3)
    assert difference.n == 3


def test_pairing_beats_comparing_separate_intervals() -> None:
    rng = np.random.default_rng(3)
    easy = rng.random(200)
    first, second = easy + 0.02 + 0.01 * rng.standard_normal(200), easy
    difference = paired_difference(first, second, [str(i) for i in range(200)])
    assert difference.low > 0.015
    assert difference.p_value < 0.002


def test_sign_flips_by_hand() -> None:
    # Differences 3, 2 and 1 by cluster: of the eight patterns only +++ and --- are as extreme as their sum.
    difference = paired_difference(np.array([3.0, 2.0, 1.0]), np.zeros(3), list("abc"))
    assert difference.p_value == pytest.approx(2 / 8)
    # 3, 2 and -1 sum to 4: as extreme are ±(3, 2, -1) and ±(3, 2, 1).
    difference = paired_difference(np.array([3.0, 2.0, -1.0]), np.zeros(3), list("abc"))
    assert difference.p_value == pytest.approx(4 / 8)


def test_a_cluster_changes_sign_as_a_whole() -> None:
    difference = paired_difference(np.ones(30), np.zeros(30), [str(i // 10) for i in range(30)])
    assert difference.p_value == pytest.approx(2 / 8)


def test_random_flips_agree_with_all_flips() -> None:
    values = np.random.default_rng(6).standard_normal(12) + 0.5
    clusters = [f"{i:02}" for i in range(12)]
    exact = paired_difference(values, np.zeros(12), clusters, resamples=2**12).p_value
    sampled = paired_difference(values, np.zeros(12), clusters, resamples=4000).p_value
    assert sampled == pytest.approx(exact, abs=0.03)


def test_no_difference_has_a_p_value_of_one() -> None:
    same = np.random.default_rng(7).random(50)
    difference = paired_difference(same, same, [str(i) for i in range(50)])
    assert (difference.value, difference.low, difference.high, difference.p_value) == (0, 0, 0, 1)


def test_the_p_value_is_calibrated_under_no_effect() -> None:
    rng = np.random.default_rng(8)
    clusters = [str(i // 4) for i in range(120)]
    rejected = 0
    for seed in range(300):
        shared = np.repeat(rng.standard_normal(30), 4)
        difference = shared + rng.standard_normal(120)
        rejected += (
            paired_difference(difference, np.zeros(120), clusters, resamples=200, seed=seed).p_value <= 0.05
        )
    assert rejected / 300 < 0.09


def test_seeds_widen_the_interval() -> None:
    rng = np.random.default_rng(9)
    one = (rng.random(300) < 0.6).astype(float)
    clusters = [str(i) for i in range(300)]
    alone = mean_interval(np.stack([one, one, one]), clusters)
    apart = mean_interval(np.stack([one, np.roll(one, 5) * 0.7, one + 0.3]), clusters)
    assert alone == pytest.approx(mean_interval(one, clusters))
    assert apart.value == pytest.approx((one.mean() + 0.7 * one.mean() + one.mean() + 0.3) / 3)
    assert apart.high - apart.low > alone.high - alone.low


def test_pooled_differences_count_samples_that_every_seed_has() -> None:
    first = np.array([[1.0, 1.0, NAN], [1.0, 0.0, 1.0]])
    difference = paired_difference(first, np.zeros((2, 3)), list("abc"))
    assert difference.value == pytest.approx(0.75)
    assert difference.n == 2


@given(
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abcdef")), min_size=1, max_size=30),
    st.integers(0, 3),
)
def test_the_interval_stays_within_the_values(rows: list[tuple[float, str]], seed: int) -> None:
    values, clusters = np.array([value for value, _ in rows]), [cluster for _, cluster in rows]
    estimate = mean_interval(values, clusters, resamples=50, seed=seed)
    assert estimate.n == len(rows)
    if not math.isnan(estimate.low):
        assert values.min() - 1e-9 <= estimate.low <= estimate.high <= values.max() + 1e-9


def test_small_p_values_are_told_apart_by_more_flips() -> None:
    values = np.random.default_rng(12).standard_normal(16) + 1.4
    bootstrap = ClusterBootstrap([f"{i:02}" for i in range(16)], resamples=300)
    columns = Columns(values[:, None], np.zeros(1, dtype=np.int64))
    exact = ClusterBootstrap([f"{i:02}" for i in range(16)], resamples=2**16).sign_flip(columns)[0]
    assert exact < 1e-3
    assert bootstrap.sign_flip(columns, more=0)[0] >= 1 / 301
    assert bootstrap.sign_flip(columns, more=200_000)[0] == pytest.approx(exact, abs=1e-4)


def test_tests_side_by_side_are_those_by_themselves() -> None:
    """Differences of every two of five methods lie in four dimensions, which the test makes use of."""
    rng = np.random.default_rng(13)
    methods = (rng.random((200, 5)) < np.linspace(0.3, 0.8, 5)).astype(float)
    differences = np.stack([methods[:, i] - methods[:, j] for i in range(5) for j in range(i)], axis=1)
    bootstrap = ClusterBootstrap([str(i // 2) for i in range(200)], resamples=500)
    together = bootstrap.sign_flip(Columns(differences, np.arange(10)), more=20_000)
    alone = [
        bootstrap.sign_flip(Columns(column[:, None], np.zeros(1, dtype=np.int64)), more=20_000)[0]
        for column in differences.T
    ]
    assert together.tolist() == alone
    assert together.min() < 1e-4
