from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from medpref.errors import InputError
from medpref.files import read_json
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.recipes import RecipeContext, response_recipes
from medpref.pairs.recipes.mined import REPORT, Confusion, expected_counts

ANSWERS = {"size": ("small", "large"), "side": ("left", "right"), "presence": ("yes", "no")}
CHOSEN, REJECTED = ResponseRole.CHOSEN, ResponseRole.REJECTED


class Reader:
    """A model that is wrong about each second size and about nothing else."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answer(
        self, pairs: Sequence[Pair], role: ImageRole, *, temperature: float, max_new_tokens: int, seed: int
    ) -> list[str]:
        self.asked += [pair.id for pair in pairs]
        return ["Large." if pair.kind == "size" else pair.responses[CHOSEN] for pair in pairs]

    def is_right(self, pair: Pair, answer: str) -> bool:
        return answer.strip(".").casefold() == pair.responses[CHOSEN]


def pool(images: int = 100) -> list[Pair]:
    return [
        Pair(
            f"{kind}-{number}",
            f"<image>\nWhich {kind}?",
            {ImageRole.CLEAN: (Path(f"/data/{number}.png"),)},
            {CHOSEN: answers[number % 2]},
            kind=kind,
        )
        for number in range(images)
        for kind, answers in ANSWERS.items()
    ]


def mine(
    pairs: Sequence[Pair], folder: Path, seed: int = 0, **settings: Any
) -> tuple[list[Pair], RecipeContext]:
    context = RecipeContext(seed, folder, ("size", "side"), model=Reader())
    return response_recipes["mined"].run(pairs, settings, context), context


def test_more_pairs_come_of_the_kind_that_the_model_gets_wrong(tmp_path: Path) -> None:
    made, context = mine(pool(), tmp_path)
    report = read_json(tmp_path / REPORT)["kinds"]
    after = Counter(pair.kind for pair in made)
    assert set(after) == {"size", "side"}
    assert after["size"] > 3 * after["side"]
    assert report["side"]["wrong"] == 0
    (confused,) = report["size"]["confusions"]
    assert confused == {"right": "small", "said": "large", "times": report["size"]["wrong"]}
    for kind in ("size", "side"):
        assert report[kind]["pairs_after"] == after[kind]
        # The copies are as many as the mixture wants, up to what rounding by chance gives.
        assert after[kind] == pytest.approx(report[kind]["counts"] * report[kind]["pairs_before"], abs=15)
    assert Counter(left.reason for left in context.left_out)["kind presence is not mined"] == 100


def test_every_pair_is_used_or_named(tmp_path: Path) -> None:
    made, context = mine(pool(), tmp_path)
    used = {pair.id.split("#")[0] for pair in made}
    left = Counter(left.id for left in context.left_out)
    assert used | left.keys() == {pair.id for pair in pool()}
    assert not used & left.keys()
    assert set(left.values()) == {1}
    assert len({pair.id for pair in made}) == len(made)


def test_images_that_are_asked_about_are_not_trained_on(tmp_path: Path) -> None:
    made, context = mine(pool(), tmp_path, held_out=0.4)
    asked = {ident.split("-")[1] for ident in context.model.asked}
    assert 25 <= len(asked) <= 55
    assert len(context.model.asked) == 2 * len(asked)
    assert not asked & {pair.id.split("#")[0].split("-")[1] for pair in made}


def test_copies_of_a_pair_have_rejected_responses_of_their_own(tmp_path: Path) -> None:
    pairs = [
        Pair(f"{n}", "Which?", {}, {CHOSEN: f"answer {n}"}, kind="size" if n % 2 else "side")
        for n in range(200)
    ]

    class Wrong(Reader):
        def is_right(self, pair: Pair, answer: str) -> bool:
            return pair.kind == "side"

    context = RecipeContext(0, tmp_path, ("size", "side"), model=Wrong())
    made = response_recipes["mined"].run(pairs, {"uniform": 0.0}, context)
    twice = [pair for pair in made if pair.id.endswith("#2")]
    by_id = {pair.id: pair for pair in made}
    assert len(twice) > 50
    same = [pair.responses[REJECTED] == by_id[pair.id[:-2]].responses[REJECTED] for pair in twice]
    assert sum(same) < len(same) / 4
    assert made[0].provenance.recipe.endswith(" + mined (replace)")


def test_the_seed_decides_and_the_order_is_no_matter(tmp_path: Path) -> None:
    def drawn(pairs: list[Pair], seed: int) -> dict[str, str]:
        return {pair.id: pair.responses[REJECTED] for pair in mine(pairs, tmp_path, seed)[0]}

    assert drawn(pool(), 1) == drawn(pool()[::-1], 1)
    assert drawn(pool(), 1).keys() != drawn(pool(), 2).keys()


def test_weights_in_place_of_copies(tmp_path: Path) -> None:
    made, _ = mine(pool(), tmp_path, draw="weigh")
    report = read_json(tmp_path / REPORT)["kinds"]
    assert (
        len({pair.id for pair in made}) == len(made) == sum(kind["pairs_before"] for kind in report.values())
    )
    assert {(pair.kind, pair.weight) for pair in made} == {
        (kind, report[kind]["counts"]) for kind in ("size", "side")
    }
    assert sum(pair.weight for pair in made) / len(made) == pytest.approx(1)


def test_a_uniform_mixture_is_the_data(tmp_path: Path) -> None:
    made, _ = mine(pool(), tmp_path, uniform=1.0)
    assert len(made) == len({pair.id for pair in made})
    report = read_json(tmp_path / REPORT)["kinds"]
    assert {kind: n["pairs_after"] for kind, n in report.items()} == {
        kind: n["pairs_before"] for kind, n in report.items()
    }


def test_the_mixture_by_hand() -> None:
    pairs = [Pair(str(n), "?", kind="a" if n < 2 else "b" if n < 4 else "c") for n in range(5)]
    # Error rates: a (2 + 1) / (2 + 2) = 0.75, b (0 + 1) / (2 + 2) = 0.25; c was not asked and has that of
    # all, (2 + 1) / (4 + 2) = 0.5. Their mean over five pairs is (2 · 0.75 + 2 · 0.25 + 0.5) / 5 = 0.5.
    counts = expected_counts(pairs, {"a": Confusion(2, 2), "b": Confusion(2, 0)}, 0.2)
    assert counts == pytest.approx({"a": 0.2 + 0.8 * 1.5, "b": 0.2 + 0.8 * 0.5, "c": 1.0})


def test_the_recipe_that_follows_is_looked_up_with_its_settings(tmp_path: Path) -> None:
    made, _ = mine(
        pool(), tmp_path, then="shuffled", settings={"fallback": "none"}, kinds=["presence", "side"]
    )
    assert {pair.kind for pair in made} == {"presence", "side"}
    assert {pair.provenance.recipe for pair in made} == {"shuffled + mined (replace)"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"then": "target"}, "Did you mean 'targeted'"),
        ({"then": "mined"}, "cannot be followed by itself"),
        ({"settings": {"kind": ["size"]}}, "targeted: kind: Extra inputs"),
        ({"held_out": 0}, "greater than 0"),
    ],
)
def test_wrong_settings_fail(settings: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=told):
        mine(pool(), tmp_path, **settings)


def test_nothing_to_ask_or_to_draw_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"of 2 pairs [02] are held out"):
        mine(pool(1), tmp_path)
    with pytest.raises(InputError, match="no pair is of one of the kinds count"):
        mine(pool(), tmp_path, kinds=["count"])


def test_progress_counts_each_pair_once(tmp_path: Path) -> None:
    done: list[int] = []
    context = RecipeContext(0, tmp_path, model=Reader(), advance=done.append)
    response_recipes["mined"].run(pool(), {"then": "self"}, context)
    assert sum(done) == len(pool())


def question(ident: str, text: str, answer: str, kind: str = "side", image: str | None = None) -> Pair:
    images = {ImageRole.CLEAN: (Path(image),)} if image else {}
    return Pair(ident, ("<image>\n" if image else "") + text, images, {CHOSEN: answer}, kind=kind)


def shuffle(pairs: Sequence[Pair], seed: int = 0, **settings: Any) -> tuple[list[Pair], RecipeContext]:
    context = RecipeContext(seed, Path("unused"))
    return response_recipes["shuffled"].run(pairs, settings, context), context


def test_the_answer_of_another_sample_of_the_same_question_is_rejected() -> None:
    pairs = [
        question("a", "Which side?", "left", image="1.png"),
        question("b", " which  SIDE", "Right.", image="2.png"),
        question("c", "which lung?", "middle", image="3.png"),
    ]
    made, _ = shuffle(pairs[:2])
    assert [pair.responses[REJECTED] for pair in made] == ["Right.", "left"]
    assert {pair.provenance.recipe for pair in made} == {"shuffled"}
    made, context = shuffle(pairs, fallback="none")
    assert [pair.id for pair in made] == ["a", "b"]
    assert [left.id for left in context.left_out] == ["c"]


def test_a_fallback_is_told() -> None:
    pairs = [
        question("a", "Which side?", "left"),
        question("b", "Which lung?", "right"),
        question("c", "How large?", "2 cm", "size"),
        question("d", "Is it large?", "Yes", "size"),
    ]
    made, context = shuffle(pairs)
    assert {pair.id: pair.responses[REJECTED] for pair in made} == {"a": "right", "b": "left"}
    assert {pair.provenance.recipe for pair in made} == {"shuffled (fallback: same kind)"}
    assert [left.id for left in context.left_out] == ["c", "d"]
    made, context = shuffle(pairs, fallback="any")
    (far,) = (pair for pair in made if pair.id == "c")
    assert far.responses[REJECTED] in ("left", "right")
    assert far.provenance.recipe == "shuffled (fallback: any question)"
    # Nobody else is asked for yes or no.
    assert [left.id for left in context.left_out] == ["d"]


def test_the_same_answer_and_the_same_image_are_not_drawn() -> None:
    pairs = [
        question("a", "Which side?", "left", image="1.png"),
        question("b", "Which side?", "Left.", image="2.png"),
        question("c", "Which side?", "left lung", image="1.png"),
        question("d", "Which side?", "right", image="3.png"),
    ]
    made, _ = shuffle(pairs)
    drawn = {pair.id: pair.responses[REJECTED] for pair in made}
    assert drawn["a"] == "right"
    assert drawn["b"] in ("left lung", "right")


def test_shuffling_draws_samples_and_the_order_is_no_matter() -> None:
    pairs = [question(f"p{n:03d}", "Which side?", "left" if n % 10 else "right") for n in range(40)]
    pairs.append(question("x", "Which side?", "both"))

    def drawn(order: list[Pair], seed: int) -> dict[str, str]:
        return {pair.id: pair.responses[REJECTED] for pair in shuffle(order, seed)[0]}

    assert drawn(pairs, 1) == drawn(pairs[::-1], 1)
    # A common answer is drawn as often as it is given: right by chance would be a half.
    common = sum(drawn(pairs, seed)["x"] == "left" for seed in range(60))
    assert common > 42


def test_nothing_to_shuffle_is_an_error() -> None:
    with pytest.raises(InputError, match="no sample has another answer"):
        shuffle([question("a", "Which side?", "left")])
