import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from medpref.evaluation.columns import Columns, one_column_each
from medpref.evaluation.intervals import ClusterBootstrap
from medpref.evaluation.seeds import Spread, spread


def of(values: np.ndarray, clusters: list[str] | None = None) -> Spread:
    """Split the variance of one statistic; `values` has a row for each seed."""
    names = clusters or [str(place) for place in range(values.shape[1])]
    return spread(ClusterBootstrap(names), [one_column_each(row[:, None]) for row in values])


def test_two_seeds_and_two_images_by_hand() -> None:
    # Rows have means 2 and 0, columns too, nothing is left over: both mean squares are 4, that of the rest 0.
    found = of(np.array([[3.0, 1.0], [1.0, -1.0]]))
    assert found.value[0] == 1
    assert found.error[0] == pytest.approx(math.sqrt((4 + 4 - 0) / 4))
    assert found.df[0] == pytest.approx(8**2 / (4**2 / 1 + 4**2 / 1))
    assert (found.sd_images[0], found.sd_seeds[0]) == pytest.approx((math.sqrt(2), math.sqrt(2)))
    low, high = found.intervals()
    # t of 2 degrees of freedom: 4.302653.
    assert (low[0], high[0]) == pytest.approx((1 - 4.302653 * math.sqrt(2), 1 + 4.302653 * math.sqrt(2)))


def test_one_seed_is_the_t_test_and_knows_nothing_of_seeds() -> None:
    values = np.random.default_rng(0).normal(0.1, 1, 30)
    found = of(values[None])
    assert found.p_values()[0] == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert math.isnan(found.sd_seeds[0])
    assert found.df[0] == 29


def test_equal_seeds_have_the_error_of_one() -> None:
    values = np.random.default_rng(1).normal(0, 1, 40)
    one, three = of(values[None]), of(np.stack([values] * 3))
    assert three.error[0] == pytest.approx(one.error[0])
    assert three.df[0] == one.df[0]
    assert three.sd_seeds[0] == pytest.approx(0, abs=1e-12)


def test_clusters_of_several_samples_by_hand() -> None:
    # Images a (1, 1, 0) and b (0): mean ½; contributions 2·(2 - 1.5)/4 and 2·(0 - 0.5)/4.
    found = of(np.array([[1.0, 1.0, 0.0, 0.0]]), list("aaab"))
    assert found.value[0] == 0.5
    assert found.clusters[0] == 2
    assert found.sd_images[0] == pytest.approx(math.sqrt(2 * 0.25**2))


def test_balanced_accuracy_has_two_columns() -> None:
    values = np.array([[1.0, math.nan], [0.0, math.nan], [math.nan, 1.0], [math.nan, 1.0]])
    found = spread(ClusterBootstrap(list("abcd")), [Columns(values, np.zeros(2, dtype=np.int64))])
    assert found.value[0] == 0.75
    # Half of the variance of a mean of two: contributions 4·½·(±½)/2.
    assert found.sd_images[0] == pytest.approx(math.sqrt(2 * 0.5**2 / 3))


def test_it_is_the_mixed_model_by_restricted_maximum_likelihood() -> None:
    rng = np.random.default_rng(4)
    seeds, images = 4, 9
    values = (
        rng.normal(0, 0.7, (seeds, 1)) + rng.normal(0, 1, (1, images)) + rng.normal(0, 1, (seeds, images))
    )
    by_seed = np.kron(np.eye(seeds), np.ones((images, images)))
    by_image = np.kron(np.ones((seeds, seeds)), np.eye(images))
    ones, y = np.ones(seeds * images), values.ravel()

    def loss(logs: np.ndarray) -> float:
        a, b, e = np.exp(logs)
        inverse = np.linalg.inv(a * by_seed + b * by_image + e * np.eye(seeds * images))
        weight = ones @ inverse @ ones
        rest = y - ones * (ones @ inverse @ y) / weight
        return float(-np.linalg.slogdet(inverse)[1] + np.log(weight) + rest @ inverse @ rest)

    options = {"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000}
    a, b, e = np.exp(optimize.minimize(loss, np.zeros(3), method="Nelder-Mead", options=options).x)
    found = of(values)
    assert found.error[0] ** 2 == pytest.approx(a / seeds + b / images + e / (seeds * images), rel=1e-4)
    assert found.sd_seeds[0] ** 2 == pytest.approx(a, rel=1e-3)


def test_nothing_scored_and_one_image() -> None:
    assert math.isnan(of(np.full((2, 3), math.nan)).value[0])
    alone = of(np.array([[1.0, 0.0], [0.0, 0.0]]), ["a", "a"])
    assert alone.value[0] == 0.25
    assert math.isnan(alone.error[0])
    assert math.isnan(alone.p_values()[0])


def test_no_difference_anywhere_has_a_p_value_of_one() -> None:
    found = of(np.zeros((3, 5)))
    assert (found.value[0], found.error[0], found.p_values()[0]) == (0, 0, 1)


def test_samples_that_a_seed_lacks_do_not_count() -> None:
    values = np.array([[1.0, 0.0, 1.0, math.nan], [0.0, 0.0, 1.0, 1.0]])
    assert of(values).error[0] == pytest.approx(of(values[:, :3]).error[0])


@given(st.integers(0, 1000), st.integers(2, 4), st.integers(4, 12))
def test_order_does_not_matter_and_swapping_changes_the_sign(seed: int, seeds: int, samples: int) -> None:
    rng = np.random.default_rng(seed)
    values, clusters = rng.normal(0, 1, (seeds, samples)), [str(c) for c in rng.integers(0, 4, samples)]
    rows, columns = rng.permutation(seeds), rng.permutation(samples)
    moved = of(values[rows][:, columns], [clusters[place] for place in columns])
    swapped, found = of(-values, clusters), of(values, clusters)
    for one, sign in ((moved, 1), (swapped, -1)):
        assert one.value == pytest.approx(sign * found.value)
        assert one.error == pytest.approx(found.error, nan_ok=True)
        assert one.df == pytest.approx(found.df, nan_ok=True)


def coverage(seeds: int, sd_seeds: float, runs: int, *, images: int = 150) -> tuple[float, float]:
    """Return how often the t interval, and one that takes the seeds as given, hold the true difference 0.

    Differences of right-or-wrong answers to two questions on each image; the sd between images and the rest
    are 0.15 and 0.45.
    """
    rng = np.random.default_rng(round(1000 * sd_seeds) + seeds)
    clusters = [str(place // 2) for place in range(2 * images)]
    bootstrap = ClusterBootstrap(clusters)
    covered = np.zeros(2)
    for _ in range(runs):
        lean = rng.normal(0, sd_seeds, (seeds, 1)) + np.repeat(rng.normal(0, 0.15, images), 2)
        drawn = rng.random((seeds, 2 * images))
        # -1, 0 and 1 with a mean of `lean` and a chance of 0.25 to differ.
        values = np.where(drawn < 0.125 - lean / 2, -1.0, np.where(drawn > 0.875 - lean / 2, 1.0, 0.0))
        runs_of_it = [one_column_each(row[:, None]) for row in values]
        low, high = spread(bootstrap, runs_of_it).intervals()
        covered[0] += low[0] <= 0 <= high[0]
        low, high = spread(bootstrap, [one_column_each(values.mean(axis=0)[:, None])]).intervals()
        covered[1] += low[0] <= 0 <= high[0]
    return float(covered[0] / runs), float(covered[1] / runs)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("sd_seeds", [0.0, 0.02, 0.05])
def test_coverage_with_few_seeds(seeds: int, sd_seeds: float) -> None:
    random, given_seeds = coverage(seeds, sd_seeds, 300)
    assert 0.90 <= random <= 0.99
    if sd_seeds == 0.05:
        assert given_seeds < 0.85
