from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from medpref.errors import InputError
from medpref.pairs.pair import Pair, ResponseRole
from medpref.pairs.recipes import RecipeContext, response_recipes

RECIPE = response_recipes["other-answer"]
NOWHERE = Path("unused")


def pair(ident: str, answer: str, kind: str | None = "side") -> Pair:
    return Pair(ident, "Where?", {}, {ResponseRole.CHOSEN: answer}, kind=kind)


def rejected(pairs: list[Pair], seed: int = 0) -> dict[str, str]:
    return {
        p.id: p.responses[ResponseRole.REJECTED] for p in RECIPE.run(pairs, {}, RecipeContext(seed, NOWHERE))
    }


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
    for made in RECIPE.run(pairs, {}, RecipeContext(seed, NOWHERE)):
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
    first, _ = RECIPE.run([pair("1", "left"), pair("2", "right")], {}, RecipeContext(5, NOWHERE))
    assert first.responses == {ResponseRole.CHOSEN: "left", ResponseRole.REJECTED: "right"}
    assert (first.provenance.recipe, first.provenance.seed) == ("other-answer", 5)


def test_recipes_add_up_in_the_provenance() -> None:
    once = RECIPE.run([pair("1", "left"), pair("2", "right")], {}, RecipeContext(5, NOWHERE))
    twice = RECIPE.run(once, {}, RecipeContext(6, NOWHERE))
    assert (twice[0].provenance.recipe, twice[0].provenance.seed) == ("other-answer + other-answer", 6)


def test_a_kind_with_one_answer_is_an_error_that_names_the_pair() -> None:
    pairs = [pair("1", "left"), pair("2", "right"), pair("lonely", "CT", "modality")]
    with pytest.raises(InputError, match=r"pair lonely: the data has only one answer .* kind 'modality'"):
        RECIPE.run(pairs, {}, RecipeContext(0, NOWHERE))


def test_it_has_no_settings() -> None:
    with pytest.raises(ValidationError):
        RECIPE.run([], {"share": 1}, RecipeContext(0, NOWHERE))


@pytest.mark.parametrize("spelling", ["yes", "Yes ", "yes."])
def test_another_spelling_of_the_answer_is_not_another_answer(spelling: str) -> None:
    pairs = [pair("1", "Yes"), pair("2", spelling), pair("3", "No")]
    for seed in range(10):
        assert rejected(pairs, seed)["1"] == "No"


def test_yes_and_no_are_answers_to_other_questions_than_places() -> None:
    pairs = [pair("1", "yes"), pair("2", "No."), pair("3", "left"), pair("4", "right")]
    for seed in range(10):
        assert rejected(pairs, seed) == {"1": "No.", "2": "yes", "3": "right", "4": "left"}


def test_the_response_of_the_data_is_used_as_it_came() -> None:
    given = pair("1", "left").with_response(ResponseRole.REJECTED, "right, I think")
    (made,) = response_recipes["llm"].run([given], {}, RecipeContext(0, NOWHERE))
    assert made.responses == given.responses
    assert made.provenance.recipe == "llm"


def test_data_without_rejected_responses_is_an_error_with_a_remedy() -> None:
    given = pair("1", "left").with_response(ResponseRole.REJECTED, "right")
    with pytest.raises(InputError, match=r"pair 2: .* without a rejected response\n.*other-answer"):
        response_recipes["llm"].run([given, pair("2", "left")], {}, RecipeContext(0, NOWHERE))


MISREAD = [
    pair("1", "left"),
    pair("2", "right"),
    pair("3", "CT", "modality"),
    pair("4", "MRI", "modality"),
    pair("5", "one", "count"),
    pair("6", "a scan", None),
]


def test_targeted_misreads_in_the_way_that_the_provenance_names() -> None:
    context = RecipeContext(0, NOWHERE, visual_kinds=("side", "count"))
    made = response_recipes["targeted"].run(MISREAD, {}, context)
    assert {p.id: p.responses[ResponseRole.REJECTED] for p in made} == {"1": "right", "2": "left"}
    assert {p.provenance.recipe for p in made} == {"targeted (error: side, anatomical)"}
    assert {left.id: left.reason for left in context.left_out} == {
        "3": "no error is known for kind modality",
        "4": "no error is known for kind modality",
        "5": "the data has only one answer to kind count",
        "6": "no error is known for kind unknown",
    }


def test_targeted_kinds_may_be_named() -> None:
    context = RecipeContext(0, NOWHERE, visual_kinds=("side",))
    made = response_recipes["targeted"].run(MISREAD, {"kinds": ["modality"]}, context)
    assert [p.id for p in made] == ["3", "4"]


@pytest.mark.parametrize(
    ("kinds", "words"), [((), "names no visual question kinds"), (("size",), "in one of the kinds size")]
)
def test_targeted_without_a_kind_to_misread_is_an_error(kinds: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        response_recipes["targeted"].run(MISREAD, {}, RecipeContext(0, NOWHERE, visual_kinds=kinds))
