import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medpref.evaluation.power import detectable_difference, images_needed


def test_detectable_by_hand() -> None:
    # With normal quantiles: 1.959964 + 0.841621.
    assert detectable_difference(0.01, 1e9) == pytest.approx(0.02801585, rel=1e-6)
    # t of 4 degrees of freedom: 2.776445 + 0.940965.
    assert detectable_difference(1.0, 4) == pytest.approx(3.71741, rel=1e-5)
    assert detectable_difference(0.01, 1e9, alpha=0.01, power=0.9) == pytest.approx(0.03857381, rel=1e-6)


def test_nothing_known_detects_nothing() -> None:
    for error, df in ((math.nan, 9.0), (0.0, 9.0), (0.1, math.nan)):
        assert math.isnan(detectable_difference(error, df))


def test_images_needed_by_hand() -> None:
    # (2.801585 · 0.5 / 0.05)² = 784.9, and some more as the variance has to be estimated.
    assert images_needed(0.05, 0.5) == 787
    assert images_needed(-0.05, 0.5) == 787
    # Half the difference takes four times as many.
    assert images_needed(0.025, 0.5) == pytest.approx(4 * 785, abs=3)


def test_more_images_do_not_lessen_the_noise_of_seeds() -> None:
    assert images_needed(0.05, 0.5, sd_seeds=0.1, seeds=2) is None
    few = images_needed(0.05, 0.5, sd_seeds=0.01, seeds=5)
    many = images_needed(0.05, 0.5, sd_seeds=0.01, seeds=50)
    assert few is not None
    assert many is not None
    assert few > many > 780


def test_what_cannot_be_told() -> None:
    assert images_needed(0.0, 0.5) is None
    assert images_needed(0.05, math.nan) is None
    assert images_needed(0.05, 0.0) == 2


@given(st.floats(0.01, 0.5), st.floats(0.05, 1.0))
def test_the_number_is_the_smallest_that_does(difference: float, sd: float) -> None:
    count = images_needed(difference, sd)
    assert count is not None
    assert detectable_difference(sd / math.sqrt(count), count - 1) <= difference
    if count > 2:
        assert detectable_difference(sd / math.sqrt(count - 1), count - 2) > difference


def test_the_detectable_difference_is_found_four_times_in_five() -> None:
    true = detectable_difference(1 / math.sqrt(25), 24)
    samples = np.random.default_rng(0).normal(true, 1, (4000, 25))
    found = stats.ttest_1samp(samples, 0, axis=1).pvalue <= 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.02)
