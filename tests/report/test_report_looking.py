"""Looking or guessing, calibration and kinds of errors, from results to the page."""

import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpref.files import read_json, write_json
from medpref.report import write_report
from medpref.report.layout import Headline, Layout, Role, make_layout
from medpref.report.likelihood import METRICS, likelihood_tables
from medpref.report.looking.answers import consistency_tables, flip_tables, noise_sentences
from medpref.report.looking.calibration import calibration_tables, plot_figures
from medpref.report.looking.errors import COLUMNS, agreement_sentence, error_tables
from medpref.report.looking.reliability import Bin, apart, reliability_plot
from medpref.report.others import legacy_tables, other_tables, unscored_lines
from medpref.report.tables import Delta, MethodRow, Score, ScoreTable

LAYOUT = Layout((Headline("vqa", "accuracy", "all"),), ("tiny",), ("sft", "dpo"), ("sft",))
PLACE = {"backbone": "tiny", "method": "dpo", "seed": 0, "task": "vqa"}


def figure(value: float | None, n: int = 40, **more: Any) -> dict[str, Any]:
    ends = {"ci_low": None, "ci_high": None} if value is None else {"ci_low": value / 2, "ci_high": value}
    return {**PLACE, "value": value, **ends, "n": n, **more}


def page(run: Path, tmp_path: Path, results: dict[str, Any] | None = None) -> str:
    shutil.copytree(run, tmp_path / "run")
    if results is not None:
        write_json(tmp_path / "run" / "results.json", results)
    return write_report(tmp_path / "run").read_text(encoding="utf-8")


def section(html: str, name: str) -> str:
    found = re.search(rf'<section id="{name}".*?</section>', html, re.DOTALL)
    assert found, name
    return found[0]


def test_flips_over_all_seeds_go_before_single_ones() -> None:
    measures = ("flipped", "unchanged", "unread", "both_right")
    rows = [figure(0.1, measure=name) for name in measures]
    rows += [figure(0.5, measure=name, seed="all") for name in measures]
    rows += [figure(None, 0, measure=name, method="sft") for name in measures]
    (table,) = flip_tables({"looking": {"flips": rows}}, LAYOUT)
    assert table.measures == ("Other side", "Same side", "No side", "Right on both")
    (row,) = table.rows
    assert (row.method, row.role, row.n) == ("dpo", Role.METHOD, 40)
    assert [score and score.value for score in row.scores] == [0.5] * 4


def test_each_wording_has_a_table() -> None:
    rows = [figure(0.9, measure="same", condition=name) for name in ("rephrased", "rephrased+rephrased-2")]
    found = consistency_tables({"looking": {"consistency": rows}}, LAYOUT)
    assert [table.condition for table in found] == ["rephrased", "rephrased+rephrased-2"]


def test_results_without_looking_have_none() -> None:
    for tables in (flip_tables, consistency_tables, calibration_tables, plot_figures, error_tables):
        assert tables({}, LAYOUT) == []
    assert agreement_sentence({}) == ""


def noise(metric: str, **ends: tuple[float, float]) -> str:
    def row(name: str, low: float, high: float) -> MethodRow:
        gap = Delta((low + high) / 2, low, high, 30, row={"metric": metric})
        return MethodRow(name, Role.METHOD, Score(0.5, 0.4, 0.6, 30), {}, gaps={"roi-noise": gap})

    rows = tuple(row(name, *own) for name, own in ends.items())
    return "".join(noise_sentences([ScoreTable("tiny", Headline("vqa", metric, "all"), (), rows, ())]))


def test_noise_is_told_in_words() -> None:
    text = noise("accuracy", dpo=(0.1, 0.3), irpo=(-0.1, 0.1), copo=(-0.3, -0.1))
    assert text.startswith(
        "tiny, vqa, accuracy on all questions (30 samples): dpo scores measurably lower with"
    )
    assert "copo scores measurably lower with noise everywhere else" in text
    assert "irpo shows no measurable difference" in text


def test_where_less_is_better_noise_shows_the_other_way() -> None:
    text = noise("fact_hall", dpo=(-0.3, -0.1), copo=(0.1, 0.3))
    assert "dpo scores measurably higher with noise on the region" in text
    assert "copo scores measurably higher with noise everywhere else" in text
    assert noise("accuracy") == ""


def test_the_images_as_they_are_stand_first() -> None:
    rows = [
        figure(0.1, measure=name, condition=condition)
        for condition in ("blank", "normal")
        for name in ("ece", "ece_if_calibrated")
    ]
    found = calibration_tables({"looking": {"calibration": rows}}, LAYOUT)
    assert [table.condition for table in found] == ["normal", "blank"]
    scores = found[0].rows[0].scores
    assert (scores["ece"], scores["brier"]) == (Score(0.1, 0.05, 0.1, 40), None)


def test_a_plot_says_everything_in_words_and_shows_every_count() -> None:
    bins = [Bin(0.1, 0.2, 0.15, Score(0.3, 0.2, 0.4, 21)), Bin(0.7, 0.9, 0.8, Score(0.6, 0.5, 0.7, 23))]
    drawn = str(reliability_plot("dpo", bins))
    assert "Reliability of dpo: yes expected in 15.0 %, right in 30.0 % [20.0, 40.0] of 21; " in drawn
    assert all(f">{n}</text>" in drawn for n in (21, 23))
    assert drawn.count("<circle") == 2


@given(st.lists(st.floats(0, 100), min_size=1, max_size=12))
def test_counts_keep_apart_within_the_plot(wanted: list[float]) -> None:
    places = apart(sorted(wanted), 20, 0, 100)
    least = min(20, 100 / max(1, len(wanted) - 1))
    assert all(b - a >= least - 1e-6 for a, b in pairwise(places))
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in places)
    if len(wanted) == 1:
        assert places == wanted


def test_kinds_by_rules_and_judge_stand_side_by_side() -> None:
    rows = [
        figure(0.5, 8, measure="of_errors", kind=kind, by=by, count=4, condition="normal")
        for by in ("rules", "judge")
        for kind in COLUMNS
    ]
    agreement = [{"n": 8, "same": 0.75, "kappa": 0.6}]
    results = {"looking": {"errors": rows, "agreement": agreement}}
    (table,) = error_tables(results, LAYOUT)
    assert table.judged
    assert [(row.method, row.by, row.n) for row in table.rows] == [("dpo", "rules", 8), ("dpo", "judge", 8)]
    assert {cell.answers for row in table.rows for cell in row.cells} == {4}
    assert agreement_sentence(results).endswith("8 distinct wrong answers: Cohen’s κ = 0.60.")
    agreement[0]["kappa"] = None
    assert "κ is not defined" in agreement_sentence(results)


def test_the_page_shows_all_of_it(looking_run: Path, tmp_path: Path) -> None:
    results = read_json(looking_run / "results.json")
    html = page(looking_run, tmp_path)
    looking = section(html, "looking")
    titles = (
        "Without the image",
        "Other conditions",
        "Noise on the region",
        "Mirror images",
        "Other wordings",
    )
    assert all(f"<h3>{title}" in looking for title in titles)
    calibration = section(html, "calibration")
    assert calibration.count('aria-label="Calibration, tiny') == 6
    assert calibration.count("<title>Reliability of") == 2
    assert "seed 0 of 2" in calibration
    errors = section(html, "errors")
    assert "Visual misreading" in errors
    assert "Told by" not in errors
    row = next(
        row
        for row in results["looking"]["calibration"]
        if (row["measure"], row["condition"], row["method"], row["seed"]) == ("ece", "normal", "dpo", "all")
    )
    assert f"{100 * row['value']:.1f}</b>" in calibration


def test_margins_are_nats_and_never_per_cent(looking_run: Path, tmp_path: Path) -> None:
    results = read_json(looking_run / "results.json")
    (table,) = likelihood_tables(results, make_layout(results))
    assert table.slice == "closed"
    margin = table.rows[1].scores[METRICS.index("likelihood_margin")]
    assert margin is not None
    assert margin.value is not None
    scores = section(page(looking_run, tmp_path), "scores")
    assert "Margin, nats" in scores
    assert f"{margin.value:.2f}</b>".replace("-", "−") in scores
    assert f"{100 * margin.value:.1f}</b>".replace("-", "−") not in scores
    # Not even where nothing says what the headline is.
    results["comparisons"] = []
    layout = make_layout(results)
    assert layout.headline
    assert not any(figure.metric.startswith("likelihood") for figure in layout.headline)


def test_unscored_answers_are_counted_by_metric_and_reason(looking_run: Path, tmp_path: Path) -> None:
    results = read_json(looking_run / "results.json")
    lines = unscored_lines(results, make_layout(results))
    assert [line[:5] for line in lines] == [
        ("phantom-vqa", "tiny", name, "green", "no report") for name in ("sft", "dpo")
    ]
    assert lines[0].n == sum(row["n"] for row in results["unscored_metrics"] if row["method"] == "sft")
    assert "no report" in section(page(looking_run, tmp_path), "scores")


@pytest.mark.parametrize("name", ["legacy_open_recall", "legacy_bleu_1"])
def test_legacy_scores_have_a_folded_part_of_their_own(whole_run: Path, tmp_path: Path, name: str) -> None:
    results = read_json(whole_run / "results.json")
    extra = [
        {**row, "metric": metric, "value": value, "ci_low": None, "ci_high": None}
        for row in results["rows"]
        if row["metric"] == "unparsed" and row["slice"] == "all"
        for metric, value in (
            (name, 0.5),
            ("mean_words", 12.34),
            ("distinct_rate", 0.25),
            ("fact_hall", 0.125),
        )
    ]
    results["rows"] += extra
    layout = make_layout(results)
    (legacy,) = legacy_tables(results, layout)
    (others,) = other_tables(results, layout)
    assert legacy.metrics == (name,)
    assert others.metrics == (
        "balanced_accuracy",
        "distinct_rate",
        "fact_hall",
        "mean_words",
        "unparsed",
    )
    scores = section(page(whole_run, tmp_path, results), "scores")
    folded = scores.index("<summary>Legacy scores, for published tables</summary>")
    assert all(folded < found.start() for found in re.finditer("Legacy (open recall|BLEU-1)", scores))
    assert "12.3</b>" in scores
    assert "1234" not in scores
    assert "Facts contradicted (hall), less is better" in scores
    # The column by the metric takes the place of the one that is counted from the answers.
    assert scores.count(">Distinct answers<") == 1
    assert scores.count(">Words, mean<") == 1
