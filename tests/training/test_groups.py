import random
from pathlib import Path

import pytest
import torch

from medpref.errors import InputError
from medpref.objectives import objectives
from medpref.pairs.pair import Pair, ResponseRole
from medpref.scoring.cells import Cell
from medpref.scoring.inputs import InputCache
from medpref.scoring.scorer import Scorer
from medpref.training.checks import check_alike
from medpref.training.groups import PairGroups, collate, hold_out, row_lengths
from medpref.training.parts import TrainingPart

CELLS = (Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED, Cell.REJECTED_CHOSEN)


def part(pairs: list[Pair], name: str = "pairs") -> TrainingPart:
    return TrainingPart(pairs, objectives["sft"], name=name)


def test_pairs_of_one_image_stay_together(pairs: list[Pair]) -> None:
    groups = PairGroups([part(pairs)], largest=4)
    assert len(groups) == 3
    batch = collate([groups[1], groups[0]])
    assert [pair.id for pair in batch["pairs"][0]] == ["p1-where", "p1-is", "p0-where", "p0-is"]
    assert batch["counted"]
    assert len(PairGroups([part(pairs)], largest=1)) == 6


def test_a_batch_keeps_parts_apart(pairs: list[Pair]) -> None:
    groups = PairGroups([part(pairs[:2], "one"), part(pairs[2:4], "other")], largest=4)
    batch = collate([groups[1], groups[0]])
    assert {number: [pair.id for pair in found] for number, found in batch["pairs"].items()} == {
        1: ["p1-where", "p1-is"],
        0: ["p0-where", "p0-is"],
    }


def test_a_group_may_stand_in_without_being_counted(pairs: list[Pair]) -> None:
    groups = PairGroups([part(pairs)], largest=4)
    assert groups[~1].pairs == groups[1].pairs
    assert not collate([groups[~1]])["counted"]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("family", ["mistral", "qwen2"])
def test_row_lengths_are_those_that_the_scorer_computes(
    make_backbone, make_pair, pairs: list[Pair], family: str, shared: bool
) -> None:
    backbone = make_backbone(family)
    texts = [make_pair("text-1"), make_pair("text-2", question="Where?", chosen="Yes", refused="No")]
    for batch, cells in ((pairs, CELLS), (pairs[:2], CELLS[:1]), (texts, CELLS[:2])):
        rows = row_lengths(batch, cells, InputCache(backbone), shared=shared)
        scorer = Scorer(backbone, shared=shared)
        with torch.no_grad():
            scorer.score(batch, cells)
        # One forward pass on all rows, each padded to the longest.
        assert len(rows) * max(rows) == scorer.tokens


def test_what_is_held_out_is_a_share_of_the_images(make_image, make_pair) -> None:
    images = [make_image(f"{n}.png", n) for n in range(20)]
    made = [make_pair(f"{n}-{m}", (image,)) for n, image in enumerate(images) for m in range(3)]
    random.Random(0).shuffle(made)
    one, other = part(made[:30], "one"), part(made[30:], "other")
    held = hold_out([one, other], 0.25, seed=0)
    train = {pair.id for side in held.train for pair in side.pairs}
    validation = {pair.id for side in held.validation for pair in side.pairs}
    assert train | validation == {pair.id for pair in made}
    assert len(validation) == 15
    # No image is on both sides, in whichever part.
    assert not {ident.split("-")[0] for ident in train} & {ident.split("-")[0] for ident in validation}
    assert [side.name for side in held.train] == [side.name for side in held.validation] == ["one", "other"]
    assert {row["id"] for row in held.rows()} == validation
    assert all(row["images"] and row["part"] in ("one", "other") for row in held.rows())
    assert hold_out([one, other], 0.25, seed=0) == held
    assert hold_out([one, other], 0.25, seed=1) != held


def test_nothing_is_held_out_by_default(pairs: list[Pair]) -> None:
    held = hold_out([part(pairs)], 0.0, seed=0)
    assert held.train == (part(pairs),)
    assert held.validation == ()


def test_text_only_pairs_stand_for_themselves(make_pair) -> None:
    held = hold_out([part([make_pair(str(n)) for n in range(10)])], 0.3, seed=0)
    assert len(held.validation[0].pairs) == 3


def test_holding_out_everything_is_an_error(pairs: list[Pair]) -> None:
    with pytest.raises(InputError, match="leaves nothing to train on"):
        hold_out([part(pairs[:2])], 0.5, seed=0)


def test_groups_do_not_mix_images(tmp_path: Path, pairs: list[Pair]) -> None:
    for group in PairGroups([part(pairs)], largest=4).groups:
        assert len({pair.image_key for pair in group.pairs}) == 1


def test_spread_weights_need_pairs_that_are_alike(make_pair, pairs: list[Pair]) -> None:
    text = make_pair("text")
    check_alike([part(pairs), part(pairs, "other")])
    check_alike([part([text])])
    with pytest.raises(InputError, match="pair text: a pair without images beside pairs with images"):
        check_alike([part(pairs), part([text], "other")])


def test_a_groups_hardness_is_the_mean_weight_of_its_pairs() -> None:
    weights = {"a": 0.5, "b": 1.5, "c": None}
    texts = {ResponseRole.CHOSEN: "x"}
    weighed = part([Pair(ident, "Where?", {}, texts, weight=weight) for ident, weight in weights.items()])
    assert PairGroups([weighed], 1).hardness() == [0.5, 1.5, 1.0]
