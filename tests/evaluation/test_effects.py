import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpref.evaluation.effects import cohens_h, odds_ratio, standardised

SHARES = st.floats(0, 1)


def test_cohens_h_by_hand() -> None:
    assert cohens_h(1, 0) == pytest.approx(math.pi)
    # asin √¾ is 60°, asin √¼ is 30°.
    assert cohens_h(0.75, 0.25) == pytest.approx(2 * math.pi / 6)
    assert cohens_h(1 + 1e-12, 1) == 0


@given(SHARES, SHARES)
def test_cohens_h_changes_sign_with_the_order(one: float, two: float) -> None:
    assert cohens_h(one, two) == -cohens_h(two, one)
    assert cohens_h(one, two) == pytest.approx(cohens_h(1 - two, 1 - one), abs=1e-6)


def test_odds_ratio_by_hand() -> None:
    assert odds_ratio(12, 4) == 3
    assert odds_ratio(0, 4) == 0
    assert math.isnan(odds_ratio(3, 0))


def test_standardised_by_hand() -> None:
    assert standardised(0.1, 0.4) == pytest.approx(0.25)
    assert math.isnan(standardised(0.0, 0.0))
    assert math.isnan(standardised(0.1, math.nan))
