import io
from pathlib import Path

from rich.console import Console
from synthetic import Shape, make_run

from medpref.files import read_json
from medpref.report import print_table


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
