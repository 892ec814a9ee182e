from collections import Counter
from pathlib import Path

import pytest

from medpref.evaluation.log import Record
from medpref.report.gallery import SIZE, Answer, Group, Question, choose, make_gallery
from medpref.report.layout import make_layout
from medpref.report.load import read_run

KINDS = ("side", "size", "organ")


def question(number: int, group: Group, image: int | None = None) -> Question:
    kind = KINDS[number % len(KINDS)]
    record = Record(
        id=f"{group.name}-{number}",
        prompt="?",
        images=(),
        cluster=str(number if image is None else image),
        prediction="",
        gold="yes",
        kinds=(kind,),
        closed=True,
        scores={},
    )
    return Question(record, "tiny", "vqa", "accuracy", (Answer("sft", "", 1.0),), group)


def test_groups_have_their_shares() -> None:
    pool = [
        question(number + 100 * place, group) for place, group in enumerate(Group) for number in range(40)
    ]
    chosen = choose(pool, 24)
    assert Counter(q.group for q in chosen) == {
        Group.REGRESSION: 8,
        Group.GAIN: 6,
        Group.WRONG: 6,
        Group.RIGHT: 4,
    }
    assert [q.group for q in chosen] == sorted((q.group for q in chosen), key=list(Group).index)


def test_a_group_that_is_missing_leaves_its_place_to_others() -> None:
    pool = [question(number, Group.RIGHT) for number in range(40)]
    assert len(choose(pool, 24)) == 24
    assert len(choose(pool[:5], 24)) == 5
    assert choose([], 24) == []


def test_kinds_take_turns() -> None:
    chosen = choose([question(number, Group.WRONG) for number in range(90)], 12)
    assert set(Counter(q.kind for q in chosen).values()) == {4}


def test_images_are_not_repeated_while_there_are_others() -> None:
    pool = [question(number, Group.WRONG, image=number // 6) for number in range(60)]
    assert len({q.record.cluster for q in choose(pool, 10)}) == 10


def test_the_order_of_the_input_does_not_matter() -> None:
    pool = [question(number, Group.WRONG) for number in range(60)]
    assert choose(pool, 12) == choose(pool[::-1], 12)


def test_cards_of_a_run(whole_run: Path) -> None:
    run = read_run(whole_run)
    cards = make_gallery(run, make_layout(run.results, run.about))
    assert len(cards) == SIZE
    for card in cards:
        rights = {answer.method: answer.right for answer in card.question.answers}
        assert list(rights) == ["sft", "sft-continued", "dpo", "irpo", "copo"]
        expected = {
            Group.REGRESSION: rights["sft"] and not all(rights.values()),
            Group.GAIN: not rights["sft"] and any(rights.values()),
            Group.WRONG: not any(rights.values()),
            Group.RIGHT: all(rights.values()),
        }
        assert expected[card.question.group]
        assert "<image>" not in card.prompt
        assert len(card.pictures) == 1
        assert (card.outline is not None) == (card.question.record.region is not None)


@pytest.mark.parametrize("content", [None, b"no image"])
def test_an_image_that_cannot_be_read_leaves_the_card(
    whole_run: Path, tmp_path: Path, content: bytes | None
) -> None:
    import shutil

    shutil.copytree(whole_run, tmp_path / "run")
    for image in (tmp_path / "run" / "images").iterdir():
        image.unlink() if content is None else image.write_bytes(content)
    run = read_run(tmp_path / "run")
    cards = make_gallery(run, make_layout(run.results, run.about))
    assert len(cards) == SIZE
    assert all(card.pictures == () and card.outline is None for card in cards)


def test_graded_scores_are_right_from_half_on() -> None:
    answers = [Answer("dpo", "", score) for score in (0.0, 0.4, 0.5, 1.0)]
    assert [answer.right for answer in answers] == [False, False, True, True]
    assert [answer.graded for answer in answers] == [False, True, True, False]
