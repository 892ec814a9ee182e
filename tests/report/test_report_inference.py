from pathlib import Path
from typing import Any

import pytest
from synthetic import Shape, make_run

from medpref.files import read_json
from medpref.report.inference import (
    detectable_sentence,
    family_sentence,
    full_tests,
    pair_matrix,
    ranking_sentence,
)
from medpref.report.layout import Headline, Layout, Role, make_layout
from medpref.report.load import read_run
from medpref.report.page import make_content, render
from medpref.report.tables import Delta, MethodRow, PairTest, Ranked, Score, ScoreTable, score_tables

SCORE = Score(0.7, 0.6, 0.8, 100)
ROW: dict[str, Any] = {
    "b": 30,
    "c": 20,
    "p_value": 0.0123,
    "p_seeds": None,
    "detectable": 0.031,
    "sd_images": 0.2,
    "sd_seeds": None,
    "seeds": 1,
    "images": 400,
    "d_z": -0.123,
}


def table(*pairs: PairTest, **rows: dict[str, Any]) -> ScoreTable:
    """Return a table of methods with rows of results.json against a control."""
    found = [MethodRow("sft", Role.CONTROL, SCORE, {}, rank=Ranked(1, 3, "a"))]
    for name, row in rows.items():
        delta = Delta(0.05, 0.02, 0.08, 100, row["p_value"], 0.5, row)
        found.append(MethodRow(name, Role.METHOD, SCORE, {"sft": delta}, rank=Ranked(1, 3, "a")))
    return ScoreTable("tiny", Headline("vqa", "accuracy", "all"), ("sft",), tuple(found), (), pairs)


def test_full_tests_leave_out_what_nothing_has() -> None:
    found = full_tests(table(dpo=ROW))
    assert found.columns[:3] == ("Method", "Control", "Difference")
    assert "p, seeds (t)" not in found.columns
    assert "p, McNemar" not in found.columns
    told = dict(zip(found.columns, found.rows[0], strict=True))
    assert told["Right alone"] == "30 : 20"
    assert told["p, permutation"] == "0.012"
    assert told["d_z"] == "−0.12"
    assert told["Detectable"] == "3.1"


def test_the_detectable_difference_is_a_sentence() -> None:
    text = detectable_sentence(table(dpo=ROW, irpo={**ROW, "detectable": 0.04}), "sft").replace("\u00a0", " ")
    assert text.startswith("These 400 images show a true difference to sft of 3.1 to 4.0 points with 80 %")
    # (2.8016 · 0.2 / 0.02)² = 785, to two digits.
    assert text.endswith("To show 2 points would take about 790 such images.")
    assert detectable_sentence(table(dpo=ROW), None) == ""
    assert detectable_sentence(table(dpo={**ROW, "detectable": None}), "sft") == ""


def test_too_few_differing_answers_say_nothing() -> None:
    assert "Too few answers differ" in detectable_sentence(table(dpo={**ROW, "b": 3, "c": 2}), "sft")
    assert "3.1 points" in detectable_sentence(table(dpo={**ROW, "b": None, "c": None}), "sft")


def test_seeds_that_differ_too_much_are_told() -> None:
    text = detectable_sentence(table(dpo={**ROW, "sd_seeds": 0.1, "seeds": 2}), "sft")
    assert "No number of images would show 2 points with 2 seeds" in text


def test_the_ranking_is_denied_or_told() -> None:
    same = PairTest("dpo", "sft", 0.1, 0.2)
    assert ranking_sentence(table(same)) == "No ranking is warranted: no two methods are separated."
    apart = PairTest("dpo", "irpo", 0.1, 0.01)
    assert ranking_sentence(table(same, apart)).startswith("1 of 2 pairs of methods is")
    assert ranking_sentence(table()) == ""


def test_the_matrix_has_both_sides_of_each_pair() -> None:
    pairs = (PairTest("sft", "dpo", -0.1, 0.01), PairTest("irpo", "sft", 0.02, 0.3))
    matrix = pair_matrix(table(*pairs, dpo=ROW, irpo=ROW))
    assert matrix is not None
    assert matrix.methods == ("sft", "dpo", "irpo")
    assert [tuple(cell) for cell in matrix.cells[0]] == [("", ""), ("−10.0", "▼"), ("−2.0", "")]
    assert [tuple(row[0]) for row in matrix.cells] == [("", ""), ("+10.0", "▲"), ("+2.0", "")]
    assert pair_matrix(table(pairs[0], dpo=ROW)) is None


def test_the_family_is_told(whole_run: Path) -> None:
    results = read_json(whole_run / "results.json")
    text = family_sentence(results, make_layout(results))
    # Four methods, one of them the other control, by two figures; ten pairs of five by two.
    assert "over 8 tests" in text
    assert "all 20 pairs" in text
    alone = Layout((), (), (), ())
    assert family_sentence(results, alone) == ""


@pytest.fixture(scope="module")
def separated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with three seeds, large enough that the worst method falls below the others."""
    shape = Shape(
        images=60, seeds=(0, 1, 2), methods=("sft", "sft-continued", "dpo"), curves=False, search=False
    )
    return make_run(tmp_path_factory.mktemp("separated"), shape)


def test_a_page_says_what_is_separated(separated: Path) -> None:
    results = read_json(separated / "results.json")
    tables = score_tables(results, make_layout(results))
    assert all(found.has_ranks for found in tables)
    html = render(make_content(read_run(separated)))
    assert "▼ lower" in html
    assert "Tests and effect sizes" in html
    assert "Every two methods" in html
    assert '<th scope="col">Rank</th>' in html
    assert "p, seeds (t)" in html


def test_a_page_without_separation_has_no_ranks(tmp_path: Path) -> None:
    run = make_run(tmp_path, Shape(images=6, methods=("sft", "sft-continued", "irpo"), curves=False))
    html = render(make_content(read_run(run)))
    assert '<th scope="col">Rank</th>' not in html
    assert html.count("No ranking is warranted") == 2
    assert 'class="method best"' not in html
