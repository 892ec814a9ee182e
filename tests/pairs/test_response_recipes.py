from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from medpref.errors import InputError
from medpref.pairs.pair import Pair, ResponseRole
from medpref.pairs.recipes import response_recipes

RECIPE = response_recipes["other-answer"]
NOWHERE = Path("unused")


def pair(ident: str, answer: str, kind: str | None = "side") -> Pair:
    return Pair(ident, "Where?", {}, {ResponseRole.CHOSEN: answer}, kind=kind)


def rejected(pairs: list[Pair], seed: int = 0) -> dict[str, str]:
    return {p.id: p.responses[ResponseRole.REJECTED] for p in RECIPE.run(pairs, {}, seed, NOWHERE)}


# Every kind has at least two answers: what a recipe needs.
PAIRS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 4)), max_size=8).map(
    lambda drawn: [
        pair(f"{n}", f"{kind}{answer}", kind)
        for n, (kind, answer) in enumerate([("a", 5), ("a", 6), ("b", 5), ("b", 6), *drawn])
    ]
)


@given(PAIRS, st.integers(0, 5))
def test_another_answer_of_the_same_kind(pairs: list[Pair], seed: int) -> None:
    known = {(p.kind, p.responses[ResponseRole.CHOSEN]) for p in pairs}
    for made in RECIPE.run(pairs, {}, seed, NOWHERE):
        assert made.responses[ResponseRole.REJECTED] != made.responses[ResponseRole.CHOSEN]
        assert (made.kind, made.responses[ResponseRole.REJECTED]) in known


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_is_no_matter(pairs: list[Pair], random) -> None:
    mixed = random.sample(pairs, len(pairs))
    assert rejected(mixed) == rejected(pairs)


def test_the_seed_decides() -> None:
    pairs = [pair(str(n), f"answer {n}") for n in range(20)]
    assert rejected(pairs, 1) == rejected(pairs, 1)
    assert rejected(pairs, 1) != rejected(pairs, 2)


def test_the_chosen_side_stays_and_the_recipe_is_noted() -> None:
    first, _ = RECIPE.run([pair("1", "left"), pair("2", "right")], {}, 5, NOWHERE)
    assert first.responses == {ResponseRole.CHOSEN: "left", ResponseRole.REJECTED: "right"}
    assert (first.provenance.recipe, first.provenance.seed) == ("other-answer", 5)


def test_recipes_add_up_in_the_provenance() -> None:
    once = RECIPE.run([pair("1", "left"), pair("2", "right")], {}, 5, NOWHERE)
    twice = RECIPE.run(once, {}, 6, NOWHERE)
    assert (twice[0].provenance.recipe, twice[0].provenance.seed) == ("other-answer + other-answer", 6)


def test_a_kind_with_one_answer_is_an_error_that_names_the_pair() -> None:
    pairs = [pair("1", "left"), pair("2", "right"), pair("lonely", "CT", "modality")]
    with pytest.raises(InputError, match=r"pair lonely: the data has only one answer .* kind 'modality'"):
        RECIPE.run(pairs, {}, 0, NOWHERE)


def test_it_has_no_settings() -> None:
    with pytest.raises(ValidationError):
        RECIPE.run([], {"share": 1}, 0, NOWHERE)


@pytest.mark.parametrize("spelling", ["yes", "Yes ", "yes."])
def test_another_spelling_of_the_answer_is_not_another_answer(spelling: str) -> None:
    pairs = [pair("1", "Yes"), pair("2", spelling), pair("3", "No")]
    for seed in range(10):
        assert rejected(pairs, seed)["1"] == "No"
