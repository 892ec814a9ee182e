import csv
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import Shape, make_run, write_results

from medpref.files import read_json
from medpref.report import write_report
from medpref.report.layout import Role
from medpref.report.sheets.csv_text import csv_text
from medpref.report.sheets.latex import escape, latex_text
from medpref.report.sheets.sheet import Figure, Line, Sheet, file_name, plain


@pytest.fixture(scope="module")
def reported(looking_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("sheets") / "run"
    shutil.copytree(looking_run, run)
    write_report(run)
    return run


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_figure_of_the_page_stands_in_some_table(reported: Path) -> None:
    page = (reported / "report.html").read_text(encoding="utf-8")
    shown = set(re.findall(r'<b class="figure">([^<]+)</b>\s*<span class="ci">([^<]*)</span>', page))
    written = "".join(path.read_text(encoding="utf-8") for path in (reported / "tables").glob("*.tex"))
    assert len(shown) > 100
    lacking = [pair for pair in shown if escape(" ".join(pair).strip()) not in written]
    assert lacking == []


def test_numbers_are_those_of_the_results(reported: Path) -> None:
    results = read_json(reported / "results.json")
    [path] = (reported / "tables").glob("scores.phantom-vqa.accuracy.visual.*.csv")
    rows = {row["Method"]: row for row in read(path)}
    wanted = {"condition": "normal", "metric": "accuracy", "slice": "visual", "seed": "all", "method": "dpo"}
    [score] = [r for r in results["rows"] if all(r[key] == value for key, value in wanted.items())]
    [difference] = [r for r in results["comparisons"] if all(r[k] == v for k, v in wanted.items())]
    row = rows["dpo"]
    assert float(row["Score"]) == score["value"]
    assert (float(row["Score low"]), float(row["Score high"])) == (score["ci_low"], score["ci_high"])
    assert float(row["Score sd"]) == score["sd"]
    assert int(row["n"]) == score["n"]
    assert float(row["Difference to sft"]) == difference["difference"]
    assert float(row["Difference to sft p"]) == difference["p_study"]
    assert row["Difference to sft low"] != ""
    assert rows["sft"]["Difference to sft"] == ""


def test_each_table_has_both_files(reported: Path) -> None:
    names = {path.name for path in (reported / "tables").iterdir()}
    stems = {name.rsplit(".", 1)[0] for name in names}
    assert names == {stem + ending for stem in stems for ending in (".csv", ".tex")}
    kinds = {stem.split(".")[0] for stem in stems}
    assert kinds >= {"scores", "tests", "kinds", "conditions", "flips", "consistency", "calibration"}
    assert kinds >= {"reliability", "errors", "likelihood", "unscored", "search", "splits", "methods"}


def test_tables_that_are_no_more_are_removed(tmp_path: Path) -> None:
    shape = Shape(images=6, methods=("sft", "dpo"), controls=("sft",), curves=False)
    run = make_run(tmp_path / "run", shape)
    write_report(run)
    before = set((run / "tables").iterdir())
    for log in (run / "logs").rglob("*.blank.eval.jsonl"):
        log.unlink()
    write_results(run, shape)
    (run / "tables" / "notes.txt").write_text("mine")
    write_report(run)
    gone = {path.name.split(".")[0] for path in before - set((run / "tables").iterdir())}
    assert gone == {"conditions"}
    assert (run / "tables" / "notes.txt").is_file()


def test_a_table_in_latex() -> None:
    lines = (
        Line(("my_dpo", Figure(0.5, 0.4, 0.6, "50.0 [40.0, 60.0]"), 1200), Role.METHOD, best=True),
        Line(("majority", None, None), Role.BASELINE),
    )
    text = latex_text(Sheet("scores.a_b", "100 % of A & B", ("Method", "Score", "n"), lines))
    assert text.splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{100 \% of A \& B}",
        r"\label{tab:scores-a-b}",
        r"\begin{tabular}{llr}",
        r"\toprule",
        r"Method & Score & n \\",
        r"\midrule",
        r"\textbf{my\_dpo} & 50.0 {[}40.0, 60.0{]} & 1,200 \\",
        r"\midrule",
        r"majority & -- & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


@given(st.text())
def test_nothing_that_is_written_is_a_command(text: str) -> None:
    escaped = escape(text)
    allowed = (
        r"\\(?:textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|dots"
        r")\{\}|\\ensuremath\{(?:-|\\surd|\\uparrow|\\downarrow|\\times|\\kappa|\\alpha)\}|\\[{}$&#%_]|\{[\[\]]\}"
    )
    rest = re.sub(allowed, "", escaped)
    assert not set(rest) & set('\\{}$&#%_^[]<>|"\n\r')


def test_a_cell_is_no_formula() -> None:
    text = csv_text(plain("x", "", ("Method", "Value"), [("=1+2", -0.5), ("@x", "-")]))
    assert text.splitlines() == ["Method,Value", "'=1+2,-0.5", "'@x,'-"]


def test_names_are_those_of_files() -> None:
    assert file_name("scores", "../up", "kind:a b", "..", "") == "scores.up.kind-a-b.x.x"


def test_a_row_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="x: a line has 1 cells"):
        plain("x", "", ("Method", "Value"), [("dpo",)])
