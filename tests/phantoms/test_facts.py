"""Facts are balanced without a prior and follow the prevalence with one."""

from collections import Counter

import numpy as np
import pytest

from medpref.phantoms.facts import (
    COUNTS,
    EXAMINATIONS,
    PREVALENCE,
    SIDED_PLANES,
    SITES,
    SIZES,
    UPRIGHT_PLANES,
    Facts,
    sample_facts,
)

N = 6000


def draw(prior: float) -> list[Facts]:
    rng = np.random.default_rng(23)
    return [sample_facts(rng, prior) for _ in range(N)]


def assert_uniform(values: list[object], options: int) -> None:
    counts = Counter(values)
    expected = len(values) / options
    assert len(counts) == options
    # Five standard deviations of a binomial count.
    assert all(abs(count - expected) < 5 * np.sqrt(expected) for count in counts.values()), counts


def test_without_a_prior_everything_is_balanced() -> None:
    facts = draw(0.0)
    lesions = [fact for fact in facts if fact.count]
    assert_uniform([fact.site for fact in facts], len(SITES))
    for site in SITES:
        assert_uniform([fact.count > 0 for fact in facts if fact.site == site], 2)
        here = [fact for fact in lesions if fact.site == site]
        assert_uniform([fact.count for fact in here], len(COUNTS))
        assert_uniform([fact.size for fact in here], len(SIZES))
        assert_uniform([fact.intensity for fact in here], 2)
        assert_uniform([fact.side for fact in here if fact.side], 2)
        assert_uniform([fact.vertical for fact in here if fact.vertical], 2)


@pytest.mark.parametrize("prior", [0.3, 0.8, 1.0])
def test_the_prior_sets_the_frequency_of_what_prevails(prior: float) -> None:
    lesions = [fact for fact in draw(prior) if fact.count]
    for site in SITES:
        for name, options in (("side", 2), ("vertical", 2), ("count", 3), ("size", 2)):
            values = [getattr(fact, name) for fact in lesions if fact.site == site]
            values = [value for value in values if value is not None]
            frequency = np.mean([value == getattr(PREVALENCE[site], name) for value in values])
            assert frequency == pytest.approx(prior + (1 - prior) / options, abs=0.06)


def test_the_prior_leaves_presence_and_intensity_balanced() -> None:
    facts = draw(1.0)
    assert_uniform([fact.count > 0 for fact in facts], 2)
    assert_uniform([fact.intensity for fact in facts if fact.count], 2)


def test_attributes_are_given_where_they_apply() -> None:
    for fact in draw(0.5):
        present = fact.count > 0
        assert fact.plane in EXAMINATIONS[fact.site][fact.modality]
        assert (fact.size is not None) == present
        assert (fact.intensity is not None) == present
        assert (fact.side is not None) == (present and fact.plane in SIDED_PLANES)
        assert (fact.vertical is not None) == (present and fact.plane in UPRIGHT_PLANES)
