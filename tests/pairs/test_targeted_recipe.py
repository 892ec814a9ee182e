"""The recipe `targeted`: which pairs are misread, in what, and what is never taken for wrong."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from medpref.errors import InputError
from medpref.pairs.edits import MEDHEVAL_KINDS
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Change, ImageRole, Pair, ResponseRole
from medpref.pairs.recipes import RecipeContext, response_recipes
from medpref.phantoms.facts import sample_facts
from medpref.phantoms.questions import CHOICES, VISUAL_KINDS, ask, caption, vocabulary

RECIPE = response_recipes["targeted"]
NOWHERE = Path("unused")


def pair(ident: str, question: str, answer: str, kind: str | None = None, image: str = "") -> Pair:
    images = {ImageRole.CLEAN: (Path(image),)} if image else {}
    prompt = f"{IMAGE_PLACEHOLDER}\n{question}" if image else question
    return Pair(ident, prompt, images, {ResponseRole.CHOSEN: answer}, kind=kind)


def run(
    pairs: Sequence[Pair], visual: tuple[str, ...] = (), seed: int = 0, **settings: object
) -> tuple[dict[str, Pair], dict[str, str]]:
    """Return the pairs made, and the reasons of those left out, by id."""
    context = RecipeContext(seed, NOWHERE, visual_kinds=visual)
    made = RECIPE.run(pairs, settings, context)
    return {p.id: p for p in made}, {left.id: left.reason for left in context.left_out}


def rejected(made: Pair) -> str:
    return made.responses[ResponseRole.REJECTED]


SIDE = pair("1", "Where is the mass?", "In the left lung.", "position")


def test_one_fact_is_wrong_and_the_pair_tells_which() -> None:
    made, left = run([SIDE], ("position",), seed=3)
    assert rejected(made["1"]) == "In the right lung."
    assert made["1"].responses[ResponseRole.CHOSEN] == "In the left lung."
    assert made["1"].changes == (Change("side", 7, 12, "left", "right"),)
    assert made["1"].provenance.recipe == "targeted (error: side, anatomical)"
    assert made["1"].provenance.seed == 3
    assert not left


def test_what_another_answer_on_the_image_states_is_no_error() -> None:
    where = pair("1", "Where is the mass?", "left", "position", "a.png")
    other = pair("2", "Which lung has the effusion?", "Right lung", "position", "a.png")
    elsewhere = pair("3", "Which lung has the effusion?", "Right lung", "position", "b.png")
    with pytest.raises(InputError, match="no pair can be misread"):
        run([where, other], ("position",), fallback="none")
    made, left = run([where, elsewhere], ("position",), fallback="none")
    assert {ident: rejected(p) for ident, p in made.items()} == {"1": "right", "3": "Left lung"}
    assert not left


def test_a_question_answered_by_yes_states_what_it_asks() -> None:
    modality = pair("1", "What is the modality?", "CT", "m", "a.png")
    asked = [
        pair("2", "Is there an MRI of this patient?", "yes", "o", "a.png"),
        pair("3", "Is this an X-ray?", "no", "o", "a.png"),
    ]
    drawn = {rejected(run([modality, *asked], ("m",), seed)[0]["1"]) for seed in range(20)}
    assert drawn == {"X-ray", "Ultrasound"}


def test_pairs_without_a_safe_fact_are_left_out_with_a_reason() -> None:
    pairs = [
        SIDE,
        pair("2", "What are the possible diagnoses?", "Toxoplasma and lymphoma", "position"),
        pair("3", "What is seen?", "The left and the right lung", "position"),
        pair("4", "Who?", "left", "other"),
    ]
    made, left = run(pairs, ("position",), fallback="none")
    assert set(made) == {"1"}
    assert left == {
        "2": "no visual fact is known in the answer",
        "3": "no change of the answer is sure to be wrong",
        "4": "no error is known for kind other",
    }


def test_short_answers_fall_back_on_another_answer_of_the_kind() -> None:
    pairs = [
        pair("1", "What is it?", "abscess", "abn"),
        pair("2", "What is it?", "Sinusitis", "abn"),
        pair("3", "What is it?", "an abscess that formed after an illness of some kind or other", "abn"),
    ]
    made, left = run(pairs, ("abn",))
    assert rejected(made["2"]) in ("abscess", pairs[2].responses[ResponseRole.CHOSEN])
    # The longer answer holds the shorter: it is no error.
    assert rejected(made["1"]) == "Sinusitis"
    assert made["1"].changes == (Change("finding", 0, 9, "abscess", "Sinusitis"),)
    assert made["1"].provenance.recipe == "targeted (error: finding, symptom)"
    assert left == {"3": "no visual fact is known in the answer"}, "long answers have no stand-in"


def test_another_answer_that_may_be_true_is_not_rejected() -> None:
    pairs = [
        pair("1", "Name one organ.", "thyroid", "organ"),
        pair("2", "What is it?", "thymus", "organ"),
        pair("3", "Where?", "left", "side"),
    ]
    made, left = run(pairs, ("organ", "side"))
    assert set(made) == {"2", "3"}
    assert left == {"1": "another answer to kind organ may be true too"}


REPORT = "Large left pleural effusion. Axial CT of the chest with a 3 cm hypodense mass."


def test_error_kinds_are_made_in_any_answer() -> None:
    pairs = [pair("1", "Describe.", REPORT), pair("2", "Is there a mass?", "Yes", "presence")]
    made, left = run(pairs, kinds=("side",))
    assert rejected(made["1"]) == REPORT.replace("left", "right")
    assert left == {"2": "the answer states no fact of the kinds that are named"}


@pytest.mark.parametrize("broad", sorted(set(MEDHEVAL_KINDS.values())))
def test_medhevals_kinds_stand_for_their_error_kinds(broad: str) -> None:
    for seed in range(8):
        made, _ = run([pair("1", "Describe.", REPORT)], seed=seed, kinds=(broad,))
        (change,) = made["1"].changes
        assert MEDHEVAL_KINDS[change.error] == broad


def test_a_question_kind_that_is_named_keeps_its_other_facts() -> None:
    pairs = [pair("1", "Is the liver shown?", "Yes", "organ"), pair("2", "Which organ?", "liver", "organ")]
    made, _ = run(pairs, kinds=("organ",))
    assert rejected(made["1"]) == "No"
    assert made["2"].changes[0].error == "organ"


def test_weights_choose_the_finding_of_a_report() -> None:
    drawn = [
        run([pair("1", "", REPORT, "report")], ("report",), seed, weights={"measurement": 0, "side": 20})[0]
        for seed in range(60)
    ]
    errors = [made["1"].changes[0].error for made in drawn]
    assert "measurement" not in errors
    assert errors.count("side") > 30


@pytest.mark.parametrize(
    "settings", [{"weights": {"sides": 1}}, {"weights": {"side": -1}}, {"fallback": "any"}, {"share": 1}]
)
def test_settings_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        run([SIDE], ("position",), **settings)


def test_a_kind_that_nobody_knows_is_named() -> None:
    with pytest.raises(InputError, match=r"'sidee' is neither .*\n.*Did you mean 'side'"):
        run([SIDE], kinds=("sidee",))


@given(st.randoms(use_true_random=False), st.integers(0, 100))
def test_the_order_of_the_pairs_is_no_matter(random, seed: int) -> None:
    pairs = [
        pair("1", "Where is the mass?", "Left upper lobe", "position", "a.png"),
        pair("2", "What is seen?", "abscess", "position", "a.png"),
        pair("3", "What is it?", "sinusitis", "position", "b.png"),
        pair("4", "How many?", "two nodules", "position", "b.png"),
        pair("5", "Describe.", REPORT, "position", "c.png"),
    ]
    mixed = random.sample(pairs, len(pairs))
    assert run(mixed, ("position",), seed) == run(pairs, ("position",), seed)


def phantom_pairs(count: int) -> list[Pair]:
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(count):
        facts = sample_facts(rng, 0.5)
        for question in (*ask(facts, rng), caption(facts, rng)):
            ident = f"{number}-{question.kind}"
            pairs.append(pair(ident, question.prompt, question.answer, question.kind, f"{number}.png"))
    return pairs


def test_phantom_answers_become_another_choice_of_their_kind() -> None:
    pairs = phantom_pairs(60)
    made, left = run(pairs, VISUAL_KINDS)
    visual = {p.id for p in pairs if p.kind in VISUAL_KINDS}
    assert set(made) == visual
    assert set(left) == {p.id for p in pairs} - visual
    for p in made.values():
        assert p.kind is not None
        assert rejected(p) in CHOICES[p.kind]
        assert rejected(p) != p.responses[ResponseRole.CHOSEN]
        assert p.changes[0].error == p.kind


def test_phantom_captions_stay_captions_of_phantoms() -> None:
    known = set(vocabulary())
    pairs = [p for p in phantom_pairs(60) if p.kind == "caption"]
    kinds = ("side", "vertical", "size", "intensity", "presence", "plane")
    made, _ = run(pairs, kinds=kinds)
    assert len(made) == len(pairs)
    words = {word for text in known for word in text.split()}
    assert {word for p in made.values() for word in rejected(p).split()} <= words
