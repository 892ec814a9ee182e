"""Reviewed answers come back as pairs: judged correct or preferred over judged wrong or not preferred."""

import uuid
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from medpref.cli import app
from medpref.errors import InputError
from medpref.files import read_json, read_jsonl
from medpref.pairs.pair import ResponseRole
from medpref.pairs.sources.review import ReviewSettings, load
from medpref.pairs.store import read_pairs
from medpref.review.export import export_logs
from medpref.review.judgement import AnswerJudgement, Preference
from medpref.review.opening import Opened
from medpref.review.plan import Answer, Item, Question


def item_of(opened: Opened, *answers: Answer) -> Item:
    keys = {answer.key for answer in answers}
    return next(i for i in opened.store.plan.items if {answer.key for answer in i.answers} == keys)


def say(opened: Opened, item: Item, *said: str) -> None:
    """Let Ada, and then Grace, say something of an item."""
    for name, word in zip(("Ada", "Grace"), said, strict=False):
        judgement: Any = (
            AnswerJudgement(verdict=word) if item.kind == "answer" else Preference(preferred=word)
        )
        opened.store.save(name, item, str(uuid.uuid4()), 0, judgement)


@pytest.fixture
def question(comparison: Item) -> Question:
    """A question with two answers."""
    return comparison.question


def pairs_of(opened: Opened, run: Path, question: Question, **settings: Any) -> tuple[set[Any], str]:
    """Return the pairs of a question as (chosen, rejected), and why there are none."""
    export_logs(*opened, run)
    data = load(ReviewSettings(run=run, **settings), run, False, lambda _: None)
    own = [pair for pair in data.pool if question.sample in pair.id]
    texts = {(p.responses[ResponseRole.CHOSEN], p.responses[ResponseRole.REJECTED]) for p in own}
    (file,) = data.quarantined
    reasons = [row.reason for row in file.quarantined if row.id == question.sample]
    return texts, "".join(reasons)


def test_correct_is_chosen_over_wrong(opened: Opened, run: Path, question: Question) -> None:
    one, two = question.answers
    say(opened, item_of(opened, one), "correct", "correct")
    say(opened, item_of(opened, two), "wrong")
    assert pairs_of(opened, run, question) == ({(one.text, two.text)}, "")


def test_reviewers_who_disagree_make_no_pair(opened: Opened, run: Path, question: Question) -> None:
    one, two = question.answers
    say(opened, item_of(opened, one), "correct", "partly")
    say(opened, item_of(opened, two), "wrong", "wrong")
    assert pairs_of(opened, run, question) == (set(), "no answer was judged correct")


def test_preferred_is_chosen_unless_it_was_judged_wrong(
    opened: Opened, run: Path, question: Question
) -> None:
    one, two = question.answers
    say(opened, item_of(opened, one, two), two.key, two.key)
    assert pairs_of(opened, run, question) == ({(two.text, one.text)}, "")
    say(opened, item_of(opened, two), "wrong")
    assert pairs_of(opened, run, question) == (set(), "the preferred answer was judged wrong")


def test_a_preference_against_a_verdict_makes_no_pair(opened: Opened, run: Path, question: Question) -> None:
    one, two = question.answers
    say(opened, item_of(opened, one, two), two.key)
    say(opened, item_of(opened, one), "correct")
    say(opened, item_of(opened, two), "partly")
    assert pairs_of(opened, run, question)[1].startswith(
        "the answer that was not preferred was judged correct"
    )


@pytest.mark.parametrize("word", ["tie", "cannot-tell"])
def test_no_preference_makes_no_pair(opened: Opened, run: Path, question: Question, word: str) -> None:
    say(opened, item_of(opened, *question.answers), word)
    assert pairs_of(opened, run, question) == (set(), "no answer has a verdict that reviewers share")


def test_the_reference_stands_in_for_a_correct_answer_only_on_request(
    opened: Opened, run: Path, question: Question
) -> None:
    wrong = next(answer for answer in question.answers if answer.text != question.gold)
    say(opened, item_of(opened, wrong), "wrong")
    assert pairs_of(opened, run, question)[0] == set()
    assert pairs_of(opened, run, question, reference=True)[0] == {(question.gold, wrong.text)}


def test_the_build_writes_whole_pairs_names_what_is_left_and_warns_of_the_split(
    opened: Opened, run: Path, question: Question, tmp_path: Path
) -> None:
    one, two = question.answers
    say(opened, item_of(opened, one), "correct")
    say(opened, item_of(opened, two), "wrong")
    export_logs(*opened, run)
    target = tmp_path / "pairs"
    result = CliRunner().invoke(app, ["build", "--from-review", str(run), "--out", str(target)])
    assert result.exit_code == 0, result.exception
    assert "of the split test: what is trained on them cannot be measured on it" in result.output
    file = read_pairs(target / "pairs.jsonl")
    assert not file.quarantined
    (pair,) = file.pairs
    assert pair.provenance.source == "expert review of made-up"
    assert pair.images
    others = {q.sample for q in opened.store.plan.questions} - {question.sample}
    assert {row["id"] for _, row in read_jsonl(target / "stages" / "data" / "quarantine.jsonl")} == others
    about = read_json(target / "build.json")
    assert sum(about["quarantined"].values()) == len(others)


def test_what_cannot_be_built_is_told(run: Path, opened: Opened) -> None:
    for arguments, words in (
        (["--from-review", str(run)], "no reviewed answers"),
        (["phantom", "--from-review", str(run)], "a study has data of its own"),
        ([], "name a study or a build"),
    ):
        result = CliRunner().invoke(app, ["build", *arguments, "--out", str(run / "pairs")])
        assert isinstance(result.exception, Exception)
        assert words in str(result.exception), arguments
    with pytest.raises(InputError, match="no reviewed answers"):
        load(ReviewSettings(run=run), run, False, lambda _: None)
