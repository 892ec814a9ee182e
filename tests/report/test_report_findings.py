from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import Shape, edit_log, make_run, write_results

from medpref.report.findings import cautions, find
from medpref.report.layout import Headline, Layout, Role, make_layout
from medpref.report.load import RunFolder, read_run
from medpref.report.tables import Delta, MethodRow, Score, ScoreTable, score_tables

ONE = (Headline("vqa", "accuracy", "all"),)
TWO = (*ONE, Headline("vqa", "accuracy", "visual"))
BETTER = Delta(0.05, 0.02, 0.08, 100, 0.001, 0.01)
WORSE = Delta(-0.05, -0.08, -0.02, 100, 0.001, 0.01)
SAME = Delta(0.01, -0.02, 0.04, 100, 0.5, 1.0)
UNTESTED = Delta(0.01, None, None, 1)


def layout(headline: tuple[Headline, ...], *methods: str) -> Layout:
    controls = ("sft", "sft-continued")
    return Layout(headline, ("tiny",), (*controls, *methods), controls)


def table(headline: Headline, **deltas: Delta) -> ScoreTable:
    score = Score(0.7, 0.6, 0.8, 100)
    rows = tuple(
        MethodRow(name, Role.METHOD, score, {"sft-continued": delta}) for name, delta in deltas.items()
    )
    return ScoreTable("tiny", headline, ("sft-continued",), rows, ())


def sentence(*columns: dict[str, Delta]) -> str:
    headline = TWO[: len(columns)]
    tables = [table(figure, **column) for figure, column in zip(headline, columns, strict=True)]
    return find(tables, layout(headline, *columns[0])).sentence.replace("\u00a0", " ")


def test_no_difference() -> None:
    assert sentence({"dpo": SAME, "irpo": SAME}) == (
        "No method is distinguishable from sft-continued at the 95 % level."
    )
    assert sentence({"dpo": SAME}, {"dpo": SAME}) == (
        "No method is distinguishable from sft-continued at the 95 % level on any of the 2 headline figures."
    )


def test_better_comes_before_worse_and_the_rest() -> None:
    assert sentence({"dpo": WORSE, "copo": SAME, "irpo": BETTER, "mdpo": BETTER}) == (
        "irpo and mdpo beat sft-continued; dpo falls below sft-continued; "
        "copo is not distinguishable from it at the 95 % level."
    )


def test_mixed_figures_are_counted() -> None:
    assert sentence({"dpo": BETTER}, {"dpo": WORSE}) == (
        "dpo beats sft-continued on 1 of 2 headline figures and "
        "falls below sft-continued on 1 of 2 headline figures."
    )


def test_too_small_a_test() -> None:
    assert sentence({"dpo": UNTESTED}) == "The test is too small to tell any method from sft-continued."


def test_nothing_to_compare() -> None:
    assert "controls only" in find([], layout(ONE)).sentence
    alone = replace(layout(ONE, "dpo"), controls=())
    assert "not compared with any control" in find([], alone).sentence


def test_details_name_every_distinct_difference() -> None:
    found = find([table(ONE[0], dpo=BETTER, irpo=SAME)], layout(ONE, "dpo", "irpo"))
    assert found.details == (
        "dpo less sft-continued, tiny, vqa, accuracy on all questions: "
        "+5.0 points [+2.0, +8.0], p = 0.010 after Holm over the study",
    )


def warned(run: RunFolder) -> dict[str, tuple[str, ...]]:
    shown = make_layout(run.results, run.about)
    return {
        caution.title: caution.texts for caution in cautions(run, score_tables(run.results, shown), shown)
    }


def test_warnings_of_a_run(whole_run: Path) -> None:
    found = warned(read_run(whole_run))
    assert found["Leakage"] == ("11 of 12 test images also occur in train: scores may reward memory.",)
    assert "variance between seeds is unknown" in found["One seed only"][0]
    assert found["Rows put aside"][0].startswith("3 rows of the data")
    assert "Unequal search budgets" not in found
    assert "No control with as many steps" not in found


def test_a_clean_run_has_no_warning_about_data(whole_run: Path) -> None:
    run = replace(
        read_run(whole_run), data={"leakage": {"test_images": 9, "also_in_train": 0}, "quarantined": {}}
    )
    assert not {"Leakage", "Rows put aside"} & warned(run).keys()


def test_several_seeds_need_no_seed_warning(tmp_path: Path) -> None:
    shape = Shape(images=6, seeds=(0, 1), methods=("sft", "dpo"), controls=("sft",))
    found = warned(read_run(make_run(tmp_path, shape)))
    assert "One seed only" not in found
    assert "No control with as many steps" in found


def test_a_model_below_the_majority_is_called_so(tmp_path: Path) -> None:
    shape = Shape(images=6, methods=("sft", "dpo"), controls=("sft",), blank=False)
    run = make_run(tmp_path, shape)
    for name in ("sft", "dpo"):
        log = run / "logs" / "tiny" / "seed-0" / name / "phantom-vqa.normal.eval.jsonl"
        edit_log(log, scores={"accuracy": 0.0, "unparsed": 0.0})
    write_results(run, shape)
    texts = warned(read_run(run))["No better than an answer without the image"]
    assert len(texts) == 2
    assert "never sees the image" in texts[0]


def test_an_unused_image_is_called_so(tmp_path: Path) -> None:
    shape = Shape(images=6, methods=("sft", "dpo"), controls=("sft",))
    run = make_run(tmp_path, shape)
    folder = run / "logs" / "tiny" / "seed-0" / "dpo"
    for condition in ("normal", "blank"):
        edit_log(folder / f"phantom-vqa.{condition}.eval.jsonl", scores={"accuracy": 1.0})
    write_results(run, shape)
    assert any("dpo" in text for text in warned(read_run(run))["The image may not be used"])


def test_unscored_answers_are_told(tmp_path: Path) -> None:
    shape = Shape(images=6, methods=("sft",), controls=("sft",))
    run = make_run(tmp_path, shape)
    log = run / "logs" / "tiny" / "seed-0" / "sft" / "phantom-vqa.normal.eval.jsonl"
    edit_log(log, scores={}, unscored="no reply")
    write_results(run, shape)
    assert "sft" in warned(read_run(run))["Answers without a score"][0]


@pytest.mark.parametrize("count", [1, 2])
def test_unequal_budgets_are_told(whole_run: Path, count: int) -> None:
    run = read_run(whole_run)
    dpo = next(search for search in run.searches if search.method == "dpo")
    searches = tuple(
        replace(search, candidates=search.candidates[:count]) if search == dpo else search
        for search in run.searches
    )
    assert "dpo" in warned(replace(run, searches=searches))["Unequal search budgets"][0]


def test_a_gain_over_one_control_only_is_no_plain_gain() -> None:
    both = ("sft", "sft-continued")
    score = Score(0.7, 0.6, 0.8, 100)
    rows = (
        MethodRow("dpo", Role.METHOD, score, {"sft": SAME, "sft-continued": BETTER}),
        MethodRow("irpo", Role.METHOD, score, {"sft": BETTER, "sft-continued": BETTER}),
    )
    tables = [ScoreTable("tiny", ONE[0], both, rows, ())]
    nothing = RunFolder(Path(), {}, {}, {}, {}, (), (), ())
    found = cautions(nothing, tables, replace(layout(ONE, "dpo", "irpo"), controls=both))
    (text,) = next(caution.texts for caution in found if caution.title == "A gain over one control only")
    assert "dpo is above sft-continued but not measurably above sft." in text
    assert "irpo" not in text


def test_where_less_is_better_a_fall_is_a_gain() -> None:
    fewer = replace_row(WORSE, "fact_hall")
    more = replace_row(BETTER, "fact_hall")
    assert (fewer.better, fewer.worse, fewer.verdict) == (True, False, "▼ lower, which is better")
    assert (more.better, more.worse, more.verdict) == (False, True, "▲ higher, which is worse")
    assert "dpo beats sft-continued; irpo falls below sft-continued" in sentence({"dpo": fewer, "irpo": more})


def replace_row(delta: Delta, metric: str) -> Delta:
    return delta._replace(row={"metric": metric})


def test_the_best_of_what_is_better_low_is_the_lowest() -> None:
    figure = Headline("vqa", "fact_hall", "all")
    rows = tuple(
        MethodRow(name, Role.METHOD, Score(value, value - 0.05, value + 0.05, 100), {})
        for name, value in (("dpo", 0.2), ("irpo", 0.6))
    )
    blind = (MethodRow("majority", Role.BASELINE, Score(0.22, 0.2, 0.24, 100), {}),)
    nothing = RunFolder(Path(), {}, {}, {}, {}, (), (), ())
    tables = [ScoreTable("tiny", figure, (), rows, blind)]
    (found,) = cautions(nothing, tables, layout((figure,), "dpo", "irpo"))[:1]
    assert found.title == "No better than an answer without the image"
    assert "the best, dpo, scores 20.0" in found.texts[0]
    (gap_up,) = (replace(rows[0], gaps={"blank": replace_row(BETTER, "fact_hall")}),)
    (gap_down,) = (replace(rows[1], gaps={"blank": replace_row(WORSE, "fact_hall")}),)
    found = cautions(nothing, [ScoreTable("tiny", figure, (), (gap_up, gap_down), ())], layout((figure,)))[0]
    # Blanking takes away from what is right only where it adds to what is wrong.
    assert found.texts[0].endswith("with the image blanked, dpo scores no measurably higher.")
