"""What reviewers found, worked by hand: verdicts, errors, harm, wins, agreement, and stale answers."""

import math
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from tests.report.pages import Page

from medpref.errors import InputError
from medpref.evaluation.log import read_logs
from medpref.files import write_json
from medpref.report import write_report
from medpref.review.agreement import agreements
from medpref.review.export import LOGS, PLAN, export_logs, rows, write_table
from medpref.review.judgement import AnswerJudgement, Preference, Verdict
from medpref.review.log import ReviewLog, Said, read_review, without_stale
from medpref.review.opening import Opened
from medpref.review.plan import Answer, Question, ReviewSettings
from medpref.review.results import method_figures, places, wins

A, B = ("control", "dpo")


def question(number: int, *texts: tuple[str, tuple[str, ...]]) -> Question:
    answers = tuple(Answer(f"{number}{text}", text, methods) for text, methods in texts)
    return Question(
        "m", 0, "vqa", f"s{number}", "test", "?", (), f"image{number}", "g", "other", None, answers
    )


def said(reviewer: str, number: int, text: str, verdict: str, *errors: str, harm: str | None = None) -> Said:
    key = f"{number}{text}"
    return Said(reviewer, f"i{key}", f"q{number}", (key,), verdict, errors, harm)


def better(reviewer: str, number: int, preferred: str) -> Said:
    keys = (f"{number}x", f"{number}y")
    return Said(reviewer, f"c{number}", f"q{number}", keys, preferred=preferred)


def review(*judgements: Said) -> ReviewLog:
    questions = {
        "q1": question(1, ("x", (A,)), ("y", (B,))),
        "q2": question(2, ("x", (A,)), ("y", (B,))),
        "q3": question(3, ("x", (A, B))),
        "q4": question(4, ("x", (A,)), ("y", (B,))),
    }
    return ReviewLog("s", ReviewSettings(control=A), ("Ada", "Grace"), questions, 10, judgements, 0)


def test_figures_are_means_over_reviewers_first_and_answers_then() -> None:
    found = review(
        said("Ada", 1, "x", "wrong", "symptom", harm="severe"),
        said("Grace", 1, "x", "correct"),
        said("Ada", 1, "y", "correct"),
        said("Ada", 2, "x", "wrong", "symptom", "knowledge", harm="mild"),
        said("Ada", 2, "y", "partly", "knowledge"),
        said("Ada", 3, "x", "cannot-tell"),
    )
    (place,) = places(found)
    control, dpo = method_figures(found, place)
    assert (control.method, control.judged, control.by_two) == (A, 3, 1)
    assert {name: value.value for name, value in control.verdicts.items()} == pytest.approx(
        {"correct": 0.5 / 3, "partly": 0, "wrong": 1.5 / 3, "cannot-tell": 1 / 3}
    )
    assert control.errors["symptom"].value == pytest.approx(1.5 / 3)
    assert control.harms["severe"].value == pytest.approx(0.5 / 3)
    assert control.against is None
    # Questions 1, 2 and 3: 1 − ½, 0 − 0, and the same answer.
    assert dpo.against is not None
    assert (dpo.against.value, dpo.against.n) == (pytest.approx(0.5 / 3), 3)


def test_wins_count_judgements_and_the_rate_counts_questions() -> None:
    found = review(
        better("Ada", 1, "1y"),
        better("Grace", 1, "1x"),
        better("Ada", 2, "2y"),
        better("Grace", 2, "tie"),
        better("Ada", 4, "cannot-tell"),
    )
    (dpo,) = wins(found, places(found)[0])
    assert dpo.counts == {"won": 2, "lost": 1, "tie": 1, "cannot-tell": 1}
    # Question 1: ½; question 2: (1 + ½)/2; question 4 nobody can tell.
    assert (dpo.rate.value, dpo.rate.n) == ((0.5 + 0.75) / 2, 2)
    assert dpo.margin.value == pytest.approx((0 + 0.5) / 2)
    assert dpo.same == 1


def test_agreement_by_hand() -> None:
    found = review(
        said("Ada", 1, "x", "correct"),
        said("Grace", 1, "x", "correct"),
        said("Ada", 2, "x", "wrong", "symptom", harm="mild"),
        said("Grace", 2, "x", "wrong", "symptom", harm="severe"),
        said("Ada", 3, "x", "wrong"),
        said("Grace", 3, "x", "correct"),
        said("Ada", 4, "x", "cannot-tell"),
        said("Grace", 4, "x", "correct"),
        said("Ada", 4, "y", "correct"),
    )
    of = {one.what: one for one in agreements(found)}
    # Ada: c w w t, Grace: c w c c. p_o = 2/4; p_e = (1·3 + 2·1)/16; κ = (8 − 5)/(16 − 5).
    assert of["verdict"].kappas[0].value == pytest.approx(3 / 11)
    assert of["verdict"].alpha.n == 4
    # Without "can't tell": cc, ww, wc. p_o = 2/3, p_e = (1·2 + 2·1)/9, κ = (6 − 4)/(9 − 4).
    assert of["grade"].kappas[0].value == pytest.approx(2 / 5)
    assert of["grade"].kappas[0].n == 3
    # Harm was said twice by both: none (correct) and none, mild and severe.
    assert of["harm"].kappas[0].n == 2
    # Symptom: yes and yes for answer 2, no elsewhere but where nobody can tell.
    assert (of["error:symptom"].kappas[0].value, of["error:symptom"].alpha.n) == (1, 3)
    assert "preference" not in of


def test_one_reviewer_agrees_with_nobody() -> None:
    assert agreements(review(said("Ada", 1, "x", "correct"))) == []


def test_answers_that_a_method_gives_no_more_count_for_it_no_more(opened: Opened, run: Path) -> None:
    export_logs(*opened, run)
    found = read_review(run)
    assert found is not None
    logs = read_logs(run / "logs")
    same, stale = without_stale(found, logs)
    assert (same, stale) == (found, [])
    changed = [
        replace(log, records=tuple(replace(r, prediction="new") for r in log.records))
        if log.header.method == "dpo"
        else log
        for log in logs
    ]
    left, stale = without_stale(found, changed)
    assert stale == ["dpo"]
    assert not any("dpo" in answer.methods for q in left.questions.values() for answer in q.answers)


def judge(opened: Opened) -> None:
    """Let both judge all but the last item; Grace thinks otherwise now and then."""
    items = sorted(opened.store.plan.items, key=lambda item: item.id)[:-1]
    for name in ("Ada", "Grace"):
        for number, item in enumerate(items):
            right = item.answers[0].text == item.question.gold
            if name == "Grace" and number % 5 == 0:
                right = not right
            verdict = AnswerJudgement(verdict=Verdict.CORRECT if right else Verdict.WRONG, comment="=1+1")
            preferred = (
                Preference(preferred=item.answers[0 if right else 1].key) if len(item.answers) > 1 else None
            )
            opened.store.save(name, item, str(uuid.uuid4()), 0, preferred or verdict)


def test_the_report_shows_what_is_in_the_logs(opened: Opened, run: Path) -> None:
    before = Page(write_report(run).read_text())
    assert "review" not in before.sections
    judge(opened)
    export_logs(*opened, run)
    page = Page(write_report(run).read_text())
    text = " ".join(" ".join(page.text).split())
    count = len(opened.store.plan.items)
    assert f"Judged items: Ada {count - 1} of {count} and Grace {count - 1} of {count}." in text
    assert "Side by side with sft-continued" in text
    found = read_review(run)
    assert found is not None
    for one in agreements(found):
        for kappa in one.kappas:
            assert kappa.value is None or f"{kappa.value:.3f}".replace("-", "−") in text
        assert math.isnan(one.alpha.value) or f"{one.alpha.value:.3f}".replace("-", "−") in text


def test_a_review_nobody_has_done_and_a_broken_one(opened: Opened, run: Path) -> None:
    assert read_review(run) is None
    export_logs(*opened, run)
    assert "review" not in Page(write_report(run).read_text()).sections
    write_json(run / LOGS / PLAN, {"version": 1})
    with pytest.raises(InputError, match="no review"):
        read_review(run)
    write_json(run / LOGS / PLAN, {"version": 2})
    with pytest.raises(InputError, match="version 2"):
        read_review(run)


def test_a_table_runs_no_formula(opened: Opened, tmp_path: Path) -> None:
    judge(opened)
    path = tmp_path / "table.csv"
    write_table(path, rows(opened.store))
    text = path.read_text()
    assert "'=1+1" in text
    assert ",=1+1" not in text
    assert text.count("\n") == 1 + len(list(rows(opened.store)))
