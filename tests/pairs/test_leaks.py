"""What a bag of words tells of chosen and rejected responses: planted leaks are found, chance is chance."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.stats import mannwhitneyu

from medpref.errors import InputError
from medpref.pairs.leaks import FEWEST_GROUPS, measure_leak, weighted_auc
from medpref.pairs.pair import ImageRole, Pair, ResponseRole

WORDS = [
    "left",
    "right",
    "upper",
    "lower",
    "small",
    "large",
    "one",
    "two",
    "dark",
    "bright",
    "lung",
    "liver",
    "brain",
    "heart",
]


def clean_pairs(make_pair, count: int, seed: int = 0) -> list[Pair]:
    """Pairs whose responses are drawn alike: nothing tells the sides."""
    rng = np.random.default_rng(seed)
    said = [
        [" ".join(rng.choice(WORDS, int(rng.integers(1, 6)))) for _ in ResponseRole] for _ in range(count)
    ]
    return [
        make_pair(
            f"{n:04d}", question=f"Question {n}?", chosen=one, refused=other + ("" if one != other else " x")
        )
        for n, (one, other) in enumerate(said)
    ]


def spoilt(pairs: list[Pair], role: ResponseRole, form: str) -> list[Pair]:
    return [pair.with_response(role, form.format(pair.responses[role])) for pair in pairs]


@pytest.mark.parametrize("seed", range(3))
def test_without_a_leak_the_interval_holds_chance(make_pair, seed: int) -> None:
    found = measure_leak(clean_pairs(make_pair, 300, seed), seed=seed, resamples=300)
    assert found.low <= 0.5 <= found.high
    assert 0.42 < found.auc < 0.58
    assert found.high - found.low < 0.2


def yes_or_no(make_pair, is_yes: np.ndarray) -> list[Pair]:
    sides = {True: ("Yes", "No"), False: ("No", "Yes")}
    return [
        make_pair(f"{n:04d}", question=f"Question {n}?", chosen=sides[yes][0], refused=sides[yes][1])
        for n, yes in enumerate(is_yes.tolist())
    ]


def test_balanced_answers_are_no_leak_though_what_is_left_for_training_is_out_of_balance(make_pair) -> None:
    balanced = np.random.default_rng(0).permutation(np.arange(40) % 2 == 0)
    found = measure_leak(yes_or_no(make_pair, balanced), resamples=300)
    assert found.measured < 0.5
    assert (found.auc, found.low) == (0.5, 0.5)
    assert 0.55 < found.high < 0.75, "so few pairs rule out no more than a large leak"


def test_answers_drawn_at_random_are_at_chance_on_average(make_pair) -> None:
    """Comparing responses of different folds would give .45 on average."""
    found = [
        measure_leak(
            yes_or_no(make_pair, np.random.default_rng(seed).random(40) < 0.5), seed=seed, resamples=100
        )
        for seed in range(40)
    ]
    assert np.mean([one.measured for one in found]) == pytest.approx(0.5, abs=0.035)
    assert sum(one.low > 0.5 for one in found) <= 4


def test_a_side_that_is_chosen_more_often_is_a_leak_of_that_size(make_pair) -> None:
    """Of couples, yes against no: .7 · .7 are right, .3 · .3 wrong, the others equal."""
    found = measure_leak(yes_or_no(make_pair, np.arange(600) % 10 < 7), resamples=300)
    assert found.auc == found.measured == pytest.approx(0.7, abs=0.02)
    assert 0.6 < found.low < found.auc < found.high < 0.8


def test_one_picture_under_two_names_is_one_image(make_pair, tmp_path) -> None:
    for number in range(40):
        Image.new("L", (8, 8), number // 2).save(tmp_path / f"{number}.png")
    pairs = [
        replace(pair, prompt="<image>\nWhat?", images={ImageRole.CLEAN: (tmp_path / f"{number}.png",)})
        for number, pair in enumerate(clean_pairs(make_pair, 40))
    ]
    assert measure_leak(pairs, resamples=20).groups == 20


@pytest.mark.parametrize(
    ("form", "trait"),
    [
        ("{}.", "ends with a full stop"),
        ("indeed {}", "“indeed”"),
        ("{} and more of the same", "length (log of words)"),
        ("{},", "commas"),
    ],
)
def test_a_planted_leak_is_found_and_named(make_pair, form: str, trait: str) -> None:
    pairs = spoilt(clean_pairs(make_pair, 200), ResponseRole.REJECTED, form)
    found = measure_leak(pairs, resamples=200)
    assert found.auc > 0.9
    assert found.low > 0.85
    named = {one.trait: one for one in found.telling}
    assert named[trait].side is ResponseRole.REJECTED
    assert named[trait].rejected > named[trait].chosen


def test_a_leak_on_the_chosen_side_is_its(make_pair) -> None:
    pairs = spoilt(clean_pairs(make_pair, 200), ResponseRole.CHOSEN, "truly {}")
    strongest = measure_leak(pairs, resamples=50).telling[0]
    assert (strongest.trait, strongest.side) == ("“truly”", ResponseRole.CHOSEN)
    assert (strongest.auc, strongest.chosen, strongest.rejected) == (1.0, 1.0, 0.0)


def test_half_a_leak_is_half_found(make_pair) -> None:
    pairs = clean_pairs(make_pair, 400)
    pairs = spoilt(pairs[::2], ResponseRole.REJECTED, "{}.") + pairs[1::2]
    found = measure_leak(pairs, resamples=200)
    # Half of the rejected responses are told for sure, the others by chance.
    assert found.auc == pytest.approx(0.75, abs=0.06)
    sure = {ident for ident, value in found.confidence.items() if value > 0.9}
    spoilt_ids = {pair.id for pair in pairs[:200]}
    assert len(sure & spoilt_ids) > 150
    assert len(sure - spoilt_ids) < 10


def test_the_order_of_the_pairs_is_no_matter(make_pair) -> None:
    pairs = spoilt(clean_pairs(make_pair, 60), ResponseRole.REJECTED, "so {}")
    assert measure_leak(pairs, resamples=50) == measure_leak(pairs[::-1], resamples=50)


def test_an_image_is_never_on_both_sides_of_a_fold(make_pair, tmp_path) -> None:
    """Each image has words of its own for each side: they tell nothing of images that were not seen."""

    def pairs(an_image_each: bool) -> list[Pair]:
        return [
            make_pair(
                pair.id,
                (tmp_path / f"{number if an_image_each else number // 10}.png",),
                chosen=f"{pair.responses[ResponseRole.CHOSEN]} v{number // 10}",
                refused=f"{pair.responses[ResponseRole.REJECTED]} w{number // 10}",
            )
            for number, pair in enumerate(clean_pairs(make_pair, 400))
        ]

    together, apart = (measure_leak(pairs(each), resamples=50) for each in (False, True))
    assert (together.groups, apart.groups) == (40, 400)
    assert together.auc < 0.65
    assert apart.auc > 0.95


def test_too_few_images_are_an_error_with_the_number(make_pair) -> None:
    pairs = clean_pairs(make_pair, FEWEST_GROUPS - 1)
    with pytest.raises(InputError, match=f"{FEWEST_GROUPS - 1} images, too few"):
        measure_leak([*pairs, make_pair("alone", refused=None)])
    assert measure_leak(clean_pairs(make_pair, FEWEST_GROUPS), resamples=20).pairs == FEWEST_GROUPS


def test_the_auc_is_that_of_mann_and_whitney() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 12, 80).astype(float)
    positive = rng.random(80) < 0.4
    expected = mannwhitneyu(scores[positive], scores[~positive]).statistic / (
        positive.sum() * (~positive).sum()
    )
    assert weighted_auc(scores, positive, np.ones(80)) == pytest.approx(float(expected))
    twice = np.concatenate([scores, scores[:20]])
    weights = np.ones(80)
    weights[:20] = 2
    again = np.concatenate([positive, positive[:20]])
    assert weighted_auc(scores, positive, weights) == pytest.approx(weighted_auc(twice, again, np.ones(100)))
    assert np.isnan(weighted_auc(scores, np.ones(80, dtype=bool), np.ones(80)))
