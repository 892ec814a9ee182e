import io
from pathlib import Path

from rich.console import Console
from synthetic import Shape, make_run

from medpref.files import read_json
from medpref.report import print_table
from medpref.report.scores import print_scores


def printed(run: Path, *, terminal: bool = False) -> str:
    stream = io.StringIO()
    print_table(read_json(run / "results.json"), Console(file=stream, width=80, force_terminal=terminal))
    return stream.getvalue()


def test_the_table_fits_80_columns_and_is_plain(whole_run: Path) -> None:
    text = printed(whole_run)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "…" not in text


def test_the_table_says_everything(whole_run: Path) -> None:
    text = printed(whole_run)
    assert text.count("tiny / phantom-vqa / Accuracy") == 2
    assert "less sft-continued" in text
    results = read_json(whole_run / "results.json")
    wanted = {"method": "irpo", "condition": "normal", "metric": "accuracy", "slice": "all"}
    row = next(row for row in results["rows"] if all(row[key] == value for key, value in wanted.items()))
    figures = f"{100 * row['value']:.1f} [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"
    assert any(line.startswith("irpo") and figures in line for line in text.splitlines())
    assert "majority-by-kind" in text


def test_the_order_is_controls_methods_baselines(whole_run: Path) -> None:
    names = [line.split()[0] for line in printed(whole_run).splitlines()[2:10]]
    controls = ["sft", "sft-continued"]
    assert names == [*controls, "copo", "dpo", "irpo", "majority", "majority-by-kind", "yes-or-no"]


def test_a_terminal_gets_styles(whole_run: Path) -> None:
    assert "\x1b[" in printed(whole_run, terminal=True)


def test_a_study_without_controls_or_blank_prints_scores_alone(tmp_path: Path) -> None:
    shape = Shape(images=6, methods=("sft",), controls=("sft",), blank=False, baselines=False)
    text = printed(make_run(tmp_path, shape))
    assert "less" not in text.split("In %")[0]
    assert "blank" not in text


def test_scores_are_shown_in_their_own_units() -> None:
    place = {"task": "vqa", "condition": "normal", "method": "m", "slice": "all", "n": 9, "unscored": 0}
    figures = {
        "accuracy": (0.5, 0.4, 0.6),
        "likelihood_margin": (-1.25, -2.0, 0.5),
        "mean_words": (12.34, None, None),
        "legacy_closed": (0.125, None, None),
    }
    rows = [
        {**place, "metric": name, "value": value, "ci_low": low, "ci_high": high}
        for name, (value, low, high) in figures.items()
    ]
    stream = io.StringIO()
    print_scores({"rows": rows}, Console(file=stream, width=100))
    lines = [" ".join(line.split()) for line in stream.getvalue().splitlines()]
    assert "Accuracy all 50.0 [40.0, 60.0] 9" in lines
    assert "Words, mean all 12.3 9" in lines
    assert "Likelihood margin, nats all −1.25 [−2.00, 0.50] 9" in lines
    assert lines.index("Legacy closed all 12.5 9") > lines.index("Words, mean all 12.3 9")


def test_narrow_scores_break_between_figures_and_cut_none() -> None:
    place = {"task": "vqa", "condition": "normal", "metric": "legacy_multimedeval_accuracy", "slice": "all"}
    rows = [
        {**place, "method": name, "value": 0.711, "ci_low": 0.651, "ci_high": 0.769, "n": 200, "unscored": 0}
        for name in ("a", "b", "baseline:majority-by-kind", "baseline:word-dump", "baseline:yes-or-no")
    ]
    stream = io.StringIO()
    print_scores({"rows": rows}, Console(file=stream, width=80))
    text = stream.getvalue()
    assert "…" not in text
    assert [text.count(part) for part in ("71.1", "[65.1,", "76.9]")] == [5, 2, 2]
