import json
from pathlib import Path
from typing import Any

import pytest
from synthetic import Shape, make_run

from medpref.files import read_json
from medpref.report.layout import Headline, Role, make_layout
from medpref.report.others import count_outputs, other_tables
from medpref.report.tables import Delta, Index, score_tables

ALL = Headline("phantom-vqa", "accuracy", "all")
VISUAL = Headline("phantom-vqa", "accuracy", "visual")


def score_row(method: str, value: float, **changes: Any) -> dict[str, Any]:
    place = {"backbone": "tiny", "method": method, "condition": "normal", "seed": 0}
    figures = {"value": value, "n": 10, "ci_low": value - 0.1, "ci_high": value + 0.1, "unscored": 0}
    return {**place, **ALL._asdict(), **figures, **changes}


def comparison(method: str, control: str, difference: float, p_study: float) -> dict[str, Any]:
    row = {key: value for key, value in score_row(method, 0.0).items() if key not in ("value", "unscored")}
    ends = {"ci_low": difference - 0.02, "ci_high": difference + 0.02}
    p_values = {"p_value": p_study, "p_holm": p_study, "p_study": p_study}
    return {**row, "control": control, "difference": difference, **ends, **p_values}


def ranking(method: str, best: int, worst: int) -> dict[str, Any]:
    return {"backbone": "tiny", "method": method, **ALL._asdict(), "best": best, "worst": worst, "group": "a"}


def pair(first: str, second: str, p_study: float) -> dict[str, Any]:
    test = {"difference": 0.1, "n": 10, "p_value": p_study, "p_seeds": None, "p_study": p_study}
    return {"backbone": "tiny", "first": first, "second": second, **ALL._asdict(), **test}


def small_results(p_study: float = 0.01) -> dict[str, Any]:
    rows = [score_row("dpo", 0.7), score_row("sft", 0.5), score_row("sft-continued", 0.6)]
    baseline = score_row("baseline:majority", 0.4, backbone="none")
    blank = score_row("dpo", 0.3, condition="blank")
    gap = {**comparison("dpo", "", 0.4, 0.0), "condition": "blank"}
    shuffled = {**gap, "condition": "shuffled", "difference": 0.3}
    aside = ("p_value", "p_holm", "p_study", "control")
    return {
        "version": 2,
        "study": "small",
        "rows": [*rows, baseline, blank],
        "comparisons": [
            comparison("dpo", "sft-continued", 0.1, p_study),
            comparison("dpo", "sft", 0.2, p_study),
        ],
        "pairs": [pair("dpo", "sft", p_study), pair("dpo", "sft-continued", p_study)],
        "rankings": [ranking("dpo", 1, 1 if p_study < 0.05 else 3), ranking("sft", 2, 3)],
        "image_reliance": [{key: row[key] for key in row if key not in aside} for row in (gap, shuffled)],
    }


def test_a_row_holds_score_differences_and_blank() -> None:
    results = small_results()
    [table] = score_tables(results, make_layout(results))
    assert [row.method for row in table.rows] == ["sft", "sft-continued", "dpo"]
    assert [row.role for row in table.rows] == [Role.CONTROL, Role.CONTROL, Role.METHOD]
    dpo = table.rows[2]
    assert (dpo.score.value, dpo.score.n, dpo.blank and dpo.blank.value) == (0.7, 10, 0.3)
    assert {name: delta.value for name, delta in dpo.deltas.items()} == {"sft-continued": 0.1, "sft": 0.2}
    assert dpo.gap is not None
    assert (dpo.gap.value, dpo.gap.p_study) == (0.4, None)
    assert {name: delta.value for name, delta in dpo.gaps.items()} == {"blank": 0.4, "shuffled": 0.3}
    assert table.conditions == ["shuffled"]
    assert [row.method for row in table.baselines] == ["majority"]
    assert table.has_blank


@pytest.mark.parametrize(("p_study", "best"), [(0.01, [False, False, True]), (0.06, [False] * 3)])
def test_best_needs_a_rank_of_its_own(p_study: float, best: list[bool]) -> None:
    results = small_results(p_study)
    [table] = score_tables(results, make_layout(results))
    assert [row.best for row in table.rows] == best
    assert table.has_ranks == any(best)
    assert table.rows[0].rank is not None
    assert table.rows[0].rank.span == "2–3"


def test_a_difference_is_distinct_only_if_the_interval_says_so_too() -> None:
    assert Delta(0.1, 0.01, 0.2, 10, 0.01, 0.01).distinct
    assert Delta(-0.1, -0.2, -0.01, 10, 0.01, 0.01).distinct
    assert not Delta(0.1, -0.01, 0.2, 10, 0.01, 0.01).distinct
    assert not Delta(0.1, 0.01, 0.2, 10, 0.01, 0.05).distinct
    assert not Delta(0.1, None, None, 10, None, None).distinct


def test_verdicts_are_words() -> None:
    assert Delta(0.1, 0.01, 0.2, 10, 0.01, 0.01).verdict == "▲ higher"
    assert Delta(-0.1, -0.2, -0.01, 10, 0.01, 0.01).verdict == "▼ lower"
    assert Delta(0.1, -0.01, 0.2, 10, 0.01, 0.01).verdict == "not significant"
    assert Delta(0.1, None, None, 10).verdict == ""


def test_facets_are_kinds_first_and_attributes() -> None:
    results = small_results()
    parts = ("organ:liver", "kind:size", "organ:chest", "visual")
    results["rows"] += [score_row("sft", 0.5, slice=part) for part in parts]
    assert Index(results).facets("phantom-vqa") == {"kind": ["size"], "organ": ["chest", "liver"]}


def test_the_study_gives_the_order(whole_run: Path) -> None:
    results, about = read_json(whole_run / "results.json"), read_json(whole_run / "run.json")
    layout = make_layout(results, about)
    assert layout.methods == ("sft", "sft-continued", "dpo", "irpo", "copo")
    assert layout.headline == (ALL, VISUAL)
    assert layout.controls == ("sft", "sft-continued")
    assert layout.main_control == "sft-continued"
    assert layout.backbones == ("tiny",)


def test_results_alone_give_the_same_tables_in_another_order(whole_run: Path) -> None:
    results, about = read_json(whole_run / "results.json"), read_json(whole_run / "run.json")
    told, alone = make_layout(results, about), make_layout(results)
    assert set(alone.methods) == set(told.methods)
    assert (alone.headline, alone.controls) == (told.headline, told.controls)


def test_without_comparisons_overall_scores_are_shown() -> None:
    nothing: dict[str, Any] = {"comparisons": [], "image_reliance": [], "pairs": [], "rankings": []}
    results = {**small_results(), **nothing}
    results["rows"] = [score_row("sft", 0.5), score_row("sft", 0.1, metric="unparsed")]
    layout = make_layout(results)
    assert (layout.headline, layout.controls, layout.main_control) == ((ALL,), (), None)
    [table] = score_tables(results, layout)
    assert (table.controls, table.baselines, table.has_blank) == ((), (), False)


def test_several_seeds_are_pooled(tmp_path: Path) -> None:
    run = make_run(tmp_path, Shape(images=6, seeds=(0, 1), methods=("sft", "dpo"), controls=("sft",)))
    results = read_json(run / "results.json")
    found = Index(results).score("tiny", "dpo", ALL)
    assert found is not None
    rows = [row for row in results["rows"] if row["method"] == "dpo" and row["slice"] == "all"]
    pooled = next(
        r for r in rows if r["seed"] == "all" and r["condition"] == "normal" and r["metric"] == "accuracy"
    )
    assert (found.value, found.sd) == (pooled["value"], pooled["sd"])
    # Baselines have one seed, so theirs is the only row.
    assert Index(results).score("none", "baseline:majority", ALL) is not None


def test_other_scores_leave_the_headline_out(whole_run: Path) -> None:
    results = read_json(whole_run / "results.json")
    [table] = other_tables(results, make_layout(results))
    assert "accuracy" not in table.metrics
    assert "unparsed" in table.metrics
    assert {row.method for row in table.rows} >= {"sft", "majority"}


def test_outputs_count_distinct_answers_and_words() -> None:
    from medpref.evaluation.log import EvaluationLog, LogHeader, Record

    def log(seed: int, *answers: str) -> EvaluationLog:
        header = LogHeader("s", "b", "dpo", seed, "t", 1, "normal", "test")
        fields: dict[str, Any] = {
            "prompt": "?",
            "images": (),
            "cluster": "",
            "gold": "",
            "kinds": (),
            "closed": False,
        }
        return EvaluationLog(header, tuple(Record(id=a, prediction=a, scores={}, **fields) for a in answers))

    counted = count_outputs([log(0, "a b", "a b ", "c"), log(1, "x", "y", "z")])
    assert counted == {("b", "dpo", "t"): (2, 3, pytest.approx((5 / 3 + 1) / 2))}


def test_tables_do_not_change_the_results(whole_run: Path) -> None:
    results = read_json(whole_run / "results.json")
    before = json.dumps(results)
    score_tables(results, make_layout(results))
    assert json.dumps(results) == before
