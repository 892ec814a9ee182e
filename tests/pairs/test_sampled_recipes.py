from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from medpref.errors import InputError
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.recipes import RecipeContext, response_recipes
from medpref.pairs.recipes.base import generator

NAMES = ("self", "self-noised")


class Guesser:
    """A model that says right or wrong by the pair and the seed, and keeps what it was asked."""

    def __init__(self, share: float = 0.5) -> None:
        self.share = share
        self.asked: list[tuple[set[str], ImageRole, float, int]] = []
        self.shown: set[Path] = set()

    def answer(
        self, pairs: Sequence[Pair], role: ImageRole, *, temperature: float, max_new_tokens: int, seed: int
    ) -> list[str]:
        self.asked.append(({pair.id for pair in pairs}, role, temperature, max_new_tokens))
        self.shown |= {path for pair in pairs for path in pair.images[role]}
        return [self._say(pair, seed) for pair in pairs]

    def _say(self, pair: Pair, seed: int) -> str:
        draw = generator(seed, pair.id).random()
        return pair.responses[ResponseRole.CHOSEN] if draw < self.share else f"wrong {draw:.3f}"

    def is_right(self, pair: Pair, answer: str) -> bool:
        return answer == pair.responses[ResponseRole.CHOSEN]


def rejected(pairs: Sequence[Pair]) -> dict[str, str]:
    return {pair.id: pair.responses[ResponseRole.REJECTED] for pair in pairs}


@pytest.fixture
def bare(pairs: list[Pair], make_pair, make_image) -> list[Pair]:
    """Pairs with one image and no rejected side."""
    image = make_image("one.png", 3)
    return [make_pair(f"p{n}", (image,), refused=None) for n in range(20)]


@pytest.mark.parametrize("name", NAMES)
def test_the_first_wrong_sample_is_rejected_and_the_rest_is_named(
    name: str, bare: list[Pair], tmp_path: Path
) -> None:
    model = Guesser(0.8)
    context = RecipeContext(0, tmp_path, model=model)
    made = response_recipes[name].run(bare, {"samples": 3, "max_new_tokens": 9}, context)
    assert all(text.startswith("wrong") for text in rejected(made).values())
    assert {p.id for p in made} | {left.id for left in context.left_out} == {p.id for p in bare}
    assert len(made) + len(context.left_out) == len(bare)
    assert {(left.recipe, left.reason) for left in context.left_out} == {
        (name, "the model gave no wrong answer")
    }
    # A pair with a wrong answer is not asked again.
    first, second, third = (asked for asked, *_ in model.asked)
    assert first == {p.id for p in bare}
    assert third < second < first
    assert {(temperature, tokens) for *_, temperature, tokens in model.asked} == {(1.0, 9)}
    assert {p.provenance.recipe for p in made} == {name}
    assert all(p.images == {ImageRole.CLEAN: bare[0].images[ImageRole.CLEAN]} for p in made)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_and_the_order_is_no_matter(name: str, bare: list[Pair], tmp_path: Path) -> None:
    def make(pairs: list[Pair], seed: int) -> dict[str, str]:
        return rejected(response_recipes[name].run(pairs, {}, RecipeContext(seed, tmp_path, model=Guesser())))

    assert make(bare, 1) == make(bare[::-1], 1)
    assert make(bare, 1) != make(bare, 2)


def test_the_noised_image_is_what_the_model_looks_at(bare: list[Pair], tmp_path: Path) -> None:
    clean, noised = Guesser(), Guesser()
    response_recipes["self"].run(bare, {}, RecipeContext(0, tmp_path, model=clean))
    response_recipes["self-noised"].run(bare, {"step": 700}, RecipeContext(0, tmp_path, model=noised))
    assert clean.shown == set(bare[0].images[ImageRole.CLEAN])
    assert {asked[1] for asked in noised.asked} == {ImageRole.REJECTED}
    (image,) = noised.shown
    assert image.is_file()
    assert image.parent == tmp_path / "images"


def test_an_empty_answer_is_no_rejected_response(bare: list[Pair], tmp_path: Path) -> None:
    class Silent(Guesser):
        def _say(self, pair: Pair, seed: int) -> str:
            return " " if pair.id == "p0" else "wrong"

    context = RecipeContext(0, tmp_path, model=Silent())
    made = response_recipes["self"].run(bare, {}, context)
    assert "p0" not in rejected(made)
    assert [left.id for left in context.left_out] == ["p0"]


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_is_never_wrong_is_an_error(name: str, bare: list[Pair], tmp_path: Path) -> None:
    context = RecipeContext(0, tmp_path, model=Guesser(1.0))
    with pytest.raises(InputError, match=rf"no wrong answer\n.*samples of the recipe {name}"):
        response_recipes[name].run(bare, {}, context)


@pytest.mark.parametrize("name", NAMES)
def test_progress_counts_each_pair_once(name: str, bare: list[Pair], tmp_path: Path) -> None:
    done: list[int] = []
    context = RecipeContext(0, tmp_path, model=Guesser(), advance=done.append)
    response_recipes[name].run(bare, {}, context)
    assert sum(done) == len(bare)


def test_they_say_that_they_need_a_model(bare: list[Pair], tmp_path: Path) -> None:
    needing = [name for name, recipe in response_recipes.items() if recipe.needs_model]
    assert set(needing) == {*NAMES, "self-erased", "mined"}
    with pytest.raises(InputError, match="asks a model"):
        response_recipes["self"].run(bare, {}, RecipeContext(0, tmp_path))


def test_several_samples_at_temperature_0_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="all samples are the same"):
        response_recipes["self"].run([], {"temperature": 0}, RecipeContext(0, tmp_path, model=Guesser()))


def test_without_the_lesion_the_model_is_asked_of_the_twin(make_pair, make_image, tmp_path: Path) -> None:
    image, twin, whole = make_image("a.png", 1), make_image("a-twin.png", 2), make_image("b.png", 3)
    ill = [make_pair(f"p{n}", (image,), refused=None) for n in range(20)]
    well = make_pair("well", (whole,), refused=None)
    model = Guesser(0.5)
    context = RecipeContext(0, tmp_path, model=model)
    made = response_recipes["self-erased"].run([*ill, well], {}, context)
    assert model.shown == {twin}
    assert [asked[2] for asked in model.asked] == [1.0]
    assert all(p.images == {ImageRole.CLEAN: (image,)} for p in made)
    assert all(text.startswith("wrong") for text in rejected(made).values())
    reasons = {left.id: (left.recipe, left.reason) for left in context.left_out}
    assert reasons["well"] == ("erased", "the image has no twin with the lesion erased")
    # Every other pair is either rejected or left out, once.
    assert {p.id for p in made} | reasons.keys() == {p.id for p in [*ill, well]}
    assert len(made) + len(context.left_out) == 21


def test_how_the_lesion_is_taken_away_can_be_said(bare: list[Pair], tmp_path: Path) -> None:
    model = Guesser(0.5)
    response_recipes["self-erased"].run(
        bare, {"image": "blank", "settings": {}}, RecipeContext(0, tmp_path, model=model)
    )
    assert all(tmp_path in path.parents for path in model.shown)
    with pytest.raises(ValidationError, match="crop"):
        response_recipes["self-erased"].settings.model_validate({"image": "crpo"})
