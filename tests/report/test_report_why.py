"""Figures of why a method did or did not help, in the page and as files."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from synthetic import Shape, make_run, write_results

from medpref.evaluation.log import EvaluationLog, read_log
from medpref.files import read_jsonl, write_jsonl
from medpref.report.layout import make_layout
from medpref.report.load import read_run
from medpref.report.page import make_content, render
from medpref.report.why import WhyFigure, why_figures
from medpref.report.why.files import write_figures

METHODS = ("sft", "dpo", "irpo")
SHAPE = Shape(images=8, methods=METHODS, controls=("sft",), seeds=(0, 1))


@pytest.fixture(scope="module")
def probed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose trainings asked, and whose evaluations looked at the gradient."""
    run = make_run(tmp_path_factory.mktemp("why"), SHAPE)
    for path in run.rglob("training.jsonl"):
        rows = [row for _, row in read_jsonl(path)]
        if path.parent.name != "sft":
            rows = [{**row, "rewards/chosen": -0.3 * row["step"] / 300} for row in rows]
            rows += [
                {"step": step, "probe/accuracy": 0.6, "probe/accuracy/visual": 0.5, "probe/n": 90}
                for step in (0, 100, 200, 300)
            ]
        write_jsonl(path, rows)
    for path in run.rglob("phantom-vqa.normal.eval.jsonl"):
        log = read_log(path)
        for record in log.records:
            record.scores.update({"region_mass": 0.3, "region_area": 0.1} if record.region else {})
        EvaluationLog(log.header, log.records).write(path)
    write_results(run, SHAPE)
    return run


def figures(run: Path) -> dict[str, WhyFigure]:
    read = read_run(run)
    return {figure.key: figure for figure in why_figures(read, make_layout(read.results, read.about))}


def said(figure: WhyFigure, name: str) -> str:
    (panel,) = [panel for panel in figure.panels if panel.name == name]
    return ElementTree.fromstring(str(panel.drawing)).findtext("title") or ""


def test_reward_accuracy_stands_beside_true_accuracy(probed_run: Path) -> None:
    figure = figures(probed_run)["accuracy"]
    assert [panel.name for panel in figure.panels] == ["dpo", "irpo"]
    text = said(figure, "dpo")
    assert "true from 0.6 to 0.6" in text
    assert "visual from 0.5 to 0.5" in text
    assert "reward from" in text
    # Two seeds and their mean, of three lines each.
    drawn = str(figure.panels[0].drawing)
    assert drawn.count('class="curve seed"') == 2
    assert drawn.count('class="truth seed"') == 2
    assert drawn.count('class="truth part"') == 1


def test_drift_is_the_reward_by_beta_and_else_from_the_first_line(probed_run: Path) -> None:
    figure = figures(probed_run)["drift"]
    assert [panel.name for panel in figure.panels] == list(METHODS)
    # β is 0.1: the reward ends at -0.3.
    assert said(figure, "irpo").endswith("to -3")
    assert "from 0 to" in said(figure, "sft")


def test_the_mass_stands_beside_chance(probed_run: Path) -> None:
    text = said(figures(probed_run)["region-phantom-vqa"], "")
    for method in METHODS:
        assert f"{method} 30.0" in text
    assert "where chance is 10.0" in text
    assert "3.0×" in str(figures(probed_run)["region-phantom-vqa"].panels[0].drawing)


def test_errors_are_told_before_and_after(probed_run: Path) -> None:
    figure = figures(probed_run)["errors-phantom-vqa"]
    assert [panel.name for panel in figure.panels] == ["dpo", "irpo"]
    assert "Visual, any" in said(figure, "dpo")


def test_nothing_is_shown_where_there_is_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path, Shape(images=4, methods=("sft", "dpo"), curves=False))
    assert set(figures(run)) == {"errors-phantom-vqa"}
    assert "Reward accuracy and true" not in render(make_content(read_run(run)))


def test_the_page_has_the_figures(probed_run: Path) -> None:
    page = render(make_content(read_run(probed_run)))
    assert '<section id="why"' in page
    assert "Gradient mass in the region" in page


def test_files_stand_alone(probed_run: Path, tmp_path: Path) -> None:
    written = write_figures(probed_run, tmp_path / "figures")
    names = {path.name for path in written}
    assert names == {
        "tiny-accuracy.svg",
        "tiny-drift.svg",
        "tiny-region-phantom-vqa.svg",
        "tiny-errors-phantom-vqa.svg",
    }
    for path in written:
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        style = root.findtext("{http://www.w3.org/2000/svg}style") or ""
        assert "prefers-color-scheme: dark" in style
        assert "svg .truth" in style
        width, height = map(float, root.get("viewBox", "").split()[2:])
        for inner in root.findall("{http://www.w3.org/2000/svg}svg"):
            assert float(inner.get("x", "")) + float(inner.get("width", "")) <= width
            assert float(inner.get("y", "")) + float(inner.get("height", "")) <= height
