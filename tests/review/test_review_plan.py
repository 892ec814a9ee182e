"""What is judged: drawn alike each time, blind, and in an order of each reviewer's own."""

import json
from pathlib import Path

import pytest

from medpref.errors import InputError
from medpref.evaluation.log import read_log
from medpref.files import write_jsonl
from medpref.review.opening import open_review
from medpref.review.plan import ReviewSettings, make_plan


def plan(run: Path, **settings: object):
    return make_plan(run, ReviewSettings.model_validate(settings))


def answer_all(run: Path, method: str, text: str) -> None:
    """Let a method give the same answer to everything."""
    log = run / "logs" / "tiny" / "seed-0" / method / "phantom-vqa.normal.eval.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    write_jsonl(log, [lines[0], *({**line, "prediction": text} for line in lines[1:])])


def test_equal_logs_and_settings_give_equal_plans_and_another_seed_another(run: Path) -> None:
    first = plan(run, questions=10)
    assert first.to_json() == plan(run, questions=10).to_json()
    assert {q.key for q in first.questions} != {q.key for q in plan(run, questions=10, seed=1).questions}


def test_every_method_is_judged_on_every_question_and_equal_answers_once(run: Path) -> None:
    found = plan(run, questions=15)
    assert len(found.questions) == 15
    for question in found.questions:
        assert sorted(m for answer in question.answers for m in answer.methods) == [
            "dpo",
            "sft",
            "sft-continued",
        ]
        assert len({answer.text for answer in question.answers}) == len(question.answers)
    answers = [item for item in found.items if item.kind == "answer"]
    assert len(answers) == sum(len(question.answers) for question in found.questions)
    assert len(found.by_id) == len(found.items)


def test_methods_stand_beside_the_control_alone_unless_all_are_wanted(run: Path) -> None:
    def compared(**settings: object) -> list[set[str]]:
        items = plan(run, questions=60, **settings).items
        return [{m for a in i.answers for m in a.methods} for i in items if i.kind == "comparison"]

    answer_all(run, "sft", "one thing")
    answer_all(run, "dpo", "another")
    questions = len(plan(run, questions=60).questions)
    usual = compared()
    assert len(usual) == 2 * questions
    assert all("sft-continued" in methods for methods in usual)
    assert len(compared(compare="all")) == 3 * questions
    assert not compared(compare="none")
    assert all("dpo" in methods for methods in compared(control="dpo"))


def test_each_reviewer_has_an_order_and_sides_of_their_own_which_stay(run: Path) -> None:
    found = plan(run, questions=60)
    ada, grace = found.order("Ada"), found.order("Grace")
    assert ada != grace
    assert ada == found.order("Ada")
    assert sorted(i.id for i in ada) == sorted(i.id for i in grace) == sorted(found.by_id)
    sides = {found.shown(item, "Ada") == item.answers for item in ada if item.kind == "comparison"}
    assert sides == {True, False}


def test_a_method_that_the_run_does_not_have_is_named_with_the_nearest(run: Path) -> None:
    with pytest.raises(InputError, match=r"no method 'dpoo'\n.*'dpo'"):
        plan(run, methods=["dpoo"])
    with pytest.raises(InputError, match="no answers to review"):
        plan(run / "logs" / "baselines")


def test_methods_added_later_leave_a_review_alone_but_changed_answers_stop_it(run: Path) -> None:
    with open_review(run, {"questions": 5}):
        pass
    log = run / "logs" / "tiny" / "seed-0" / "dpo" / "phantom-vqa.normal.eval.jsonl"
    assert read_log(log).header.method == "dpo"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    new = log.parent.parent / "new" / log.name
    new.parent.mkdir()
    write_jsonl(new, [{**lines[0], "method": "new"}, *lines[1:]])
    with open_review(run, {}) as opened:
        assert "new" not in opened.store.plan.settings.methods
    answer_all(run, "dpo", "another")
    with pytest.raises(InputError, match="have changed since the review began"), open_review(run, {}):
        pass


def test_settings_are_fixed_once_a_review_has_begun(run: Path) -> None:
    with open_review(run, {"questions": 5, "compare": "all"}) as opened:
        begun = opened.store.plan.fingerprint
    with open_review(run, {"questions": 5}) as opened:
        assert opened.store.plan.fingerprint == begun
    with pytest.raises(InputError, match="begun with questions=5"), open_review(run, {"questions": 6}):
        pass


def test_a_wrong_setting_makes_no_file(run: Path) -> None:
    with pytest.raises(InputError, match="unknown key 'question'"), open_review(run, {"question": 5}):
        pass
    assert not (run / "review").exists()
