from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from medpref.errors import InputError
from medpref.pairs.pair import Pair, ResponseRole
from medpref.pairs.recipes import RecipeContext, weight_recipes
from medpref.pairs.recipes.weights import standardise

NOWHERE = Path("unused")


def pair(ident: str, weight: float | None = None, kind: str | None = None) -> Pair:
    return Pair(ident, "Where?", {}, {ResponseRole.CHOSEN: "x"}, weight=weight, kind=kind)


def weights(name: str, pairs: list[Pair], **settings: object) -> list[float | None]:
    return [made.weight for made in weight_recipes[name].run(pairs, settings, RecipeContext(0, NOWHERE))]


def test_standardise_clips_at_both_ends() -> None:
    # Mean 0.5, standard deviation √(1/6) = 0.408; (0 − 0.5) / 0.408 · √0.1 = −0.387, clipped to −0.25.
    np.testing.assert_allclose(standardise(np.array([0.0, 0.5, 1.0])), [0.75, 1.0, 1.25])


def test_standardise_within_the_clip() -> None:
    # Mean 0.5; variance 2 · 0.16 / 10 = 0.032, deviation 0.178885; 0.1 and 0.9 clip, 0.5 is the mean.
    scores = np.array([0.1, 0.9] + [0.5] * 8)
    np.testing.assert_allclose(standardise(scores), [0.75, 1.25] + [1.0] * 8)
    # Mean 0.6; deviations −0.1 ×3, 0.3: variance (3 · 0.01 + 0.09) / 4 = 0.03, deviation 0.173205;
    # −0.1 / 0.173205 · 0.316228 = −0.182574 and 0.3 / 0.173205 · 0.316228 = +0.547723, clipped.
    scores = np.array([0.5, 0.5, 0.5, 0.9])
    np.testing.assert_allclose(standardise(scores), [0.817426, 0.817426, 0.817426, 1.25], rtol=1e-6)


SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=30).map(np.array)


@given(SCORES)
def test_weights_stay_in_the_clip_and_keep_the_order(scores: np.ndarray) -> None:
    made = standardise(scores)
    assert ((made >= 0.75) & (made <= 1.25)).all()
    assert (np.diff(made[scores.argsort(kind="stable")]) >= -1e-12).all()


@given(st.lists(st.sampled_from([0.2, 0.4, 0.6]), min_size=4, max_size=30).map(np.array), st.floats(0.1, 5))
def test_scale_and_shift_of_the_raw_scores_are_no_matter(scores: np.ndarray, scale: float) -> None:
    if np.ptp(scores) > 0:
        np.testing.assert_allclose(standardise(scores), standardise(scores * scale + 3), atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_equal_scores_all_become_one(value: float) -> None:
    np.testing.assert_array_equal(standardise(np.array([value] * 3)), [1.0] * 3)


def test_equal_scores_all_become_one_whatever_the_rounding() -> None:
    np.testing.assert_array_equal(standardise(np.array([0.1] * 3)), [1.0] * 3)


def test_given_weights_are_standardised_by_default() -> None:
    assert weights("given", [pair("1", 0.0), pair("2", 0.5), pair("3", 1.0)]) == [0.75, 1.0, 1.25]


def test_raw_weights_stay() -> None:
    assert weights("given", [pair("1", 0.0), pair("2", 0.7)], normalise="raw") == [0.0, 0.7]


def test_a_pair_without_a_weight_is_an_error_that_names_it() -> None:
    with pytest.raises(InputError, match="pair bare: the pair came without a weight"):
        weights("given", [pair("1", 1.0), pair("bare")])


def test_a_weight_of_zero_is_a_weight() -> None:
    assert weights("given", [pair("1", 0.0)], normalise="raw") == [0.0]


def test_weights_by_kind() -> None:
    pairs = [pair("1", kind="presence"), pair("2", kind="colour"), pair("3")]
    kinds = {"presence": 1.0}
    assert weights("by-kind", pairs, kinds=kinds, normalise="raw") == [1.0, 0.5, 0.5]
    assert weights("by-kind", pairs, kinds=kinds, other=0.0, normalise="raw") == [1.0, 0.0, 0.0]


def test_the_provenance_says_which_normalisation_ran() -> None:
    for normalise in ("standardise", "raw"):
        (made,) = weight_recipes["given"].run(
            [pair("1", 1.0)], {"normalise": normalise}, RecipeContext(4, NOWHERE)
        )
        assert made.provenance.recipe == f"given ({normalise})"


@pytest.mark.parametrize("settings", [{"normalize": "raw"}, {"normalise": "none"}])
def test_unknown_settings_fail(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        weights("given", [], **settings)


class Counting:
    """A model that answers question n wrongly in n of every four samples."""

    def __init__(self) -> None:
        self.samples = 0

    def answer(self, pairs: list[Pair], *_: object, **__: object) -> list[str]:
        self.samples += 1
        return ["y" if self.samples <= int(pair.id) else "x" for pair in pairs]

    def is_right(self, pair: Pair, answer: str) -> bool:
        return answer == pair.responses[ResponseRole.CHOSEN]


def test_hardness_is_the_share_of_wrong_answers() -> None:
    pairs = [pair(str(number)) for number in (0, 1, 4)]
    context = RecipeContext(0, NOWHERE, model=Counting())
    recipe = weight_recipes["hardness"]
    made = recipe.run(pairs, {"samples": 4, "normalise": "raw"}, context)
    assert [one.weight for one in made] == [0.0, 0.25, 1.0]
    assert recipe.asks_model({})
