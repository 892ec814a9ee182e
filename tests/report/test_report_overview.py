"""The main table, every method by every figure, on the page and in files; and the cautions that are many."""

import csv
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import EXECUTABLE, browser
from pages import Page
from synthetic import Shape, make_run

from medpref.report import Images, write_report
from medpref.report.findings import cautions
from medpref.report.layout import Headline, Layout, Role
from medpref.report.load import RunFolder
from medpref.report.overview import Overview, overviews
from medpref.report.page import environment
from medpref.report.sheets.csv_text import csv_text
from medpref.report.sheets.latex import escape, latex_text
from medpref.report.sheets.overview import overview_sheets
from medpref.report.tables import Delta, MethodRow, PairTest, Ranked, Score, ScoreTable

CLOSED = Headline("rad", "accuracy", "closed")
OPEN = Headline("rad", "token_f1", "open")
SLAKE = Headline("slake", "accuracy", "closed")
LAYOUT = Layout(
    (CLOSED, SLAKE, OPEN),
    ("llava", "huatuo"),
    ("base", "sft", "sft-continued", "dpo", "irpo"),
    ("sft", "sft-continued"),
)
UP = Delta(0.1, 0.05, 0.15, 100, 0.001, 0.01)
DOWN = Delta(-0.1, -0.15, -0.05, 100, 0.001, 0.01)
SAME = Delta(0.01, -0.02, 0.04, 100, 0.5, 1.0)
APART = (PairTest("dpo", "irpo", 0.1, 0.01),)
SOLE, SHARED, LATER = Ranked(1, 1, "a"), Ranked(1, 2, "a"), Ranked(2, 3, "b")


def score(value: float) -> Score:
    return Score(value, value - 0.05, value + 0.05, 100)


def row(
    name: str, value: float, rank: Ranked | None = None, role: Role = Role.METHOD, **deltas: Delta
) -> MethodRow:
    named = {control.replace("_", "-"): delta for control, delta in deltas.items()}
    return MethodRow(name, role, score(value), named, rank=rank)


def table(
    backbone: str = "llava",
    headline: Headline = CLOSED,
    rank: Ranked = SOLE,
    pairs: tuple[PairTest, ...] = APART,
) -> ScoreTable:
    rows = (
        row("base", 0.1, role=Role.CONTROL),
        row("sft", 0.6, LATER, Role.CONTROL, sft_continued=SAME),
        row("sft-continued", 0.61, LATER, Role.CONTROL, sft=SAME),
        row("dpo", 0.75, rank, sft=SAME, sft_continued=UP),
        row("irpo", 0.5, LATER, sft=SAME, sft_continued=DOWN),
    )
    blind = (MethodRow("majority", Role.BASELINE, score(0.4), {}),)
    return ScoreTable(backbone, headline, LAYOUT.controls, rows, blind, pairs)


def whole() -> list[ScoreTable]:
    return [table(backbone, figure) for figure in LAYOUT.headline for backbone in LAYOUT.backbones]


def bold(block: Overview) -> list[tuple[str, int]]:
    lines = [*block.rows, *block.baselines]
    return [(one.method, at) for one in lines for at, cell in enumerate(one.cells) if cell and cell.best]


def test_a_block_for_each_backbone_with_columns_by_task() -> None:
    blocks = overviews(whole(), LAYOUT)
    assert [block.name for block in blocks] == ["llava", "huatuo"]
    for block in blocks:
        # The figures of a task stand together, though the study names another task's between them.
        heads = [(group.task, [column.title for column in group.columns]) for group in block.groups]
        assert heads == [("rad", ["Accuracy", "Token F1"]), ("slake", ["Accuracy"])]
        assert [one.method for one in block.rows] == list(LAYOUT.methods)
        assert [one.method for one in block.baselines] == ["majority"]
        assert {len(one.cells) for one in (*block.rows, *block.baselines)} == {block.width}


def test_differences_are_to_the_main_control() -> None:
    block = overviews(whole(), LAYOUT)[0]
    assert block.control == "sft-continued"
    found = {one.method: one.cells[0].delta for one in block.rows if one.cells[0]}
    assert found == {"base": None, "sft": SAME, "sft-continued": None, "dpo": UP, "irpo": DOWN}


def test_a_column_alone_would_say_what_its_table_says() -> None:
    assert overviews([table()], LAYOUT) == []
    assert overviews([], LAYOUT) == []


def test_the_columns_of_one_figure_alone_are_backbones() -> None:
    (block,) = overviews([table("llava"), table("huatuo")], LAYOUT)
    assert block.name == "Accuracy, closed questions"
    assert [(g.task, [column.title for column in g.columns]) for g in block.groups] == [
        ("rad", ["llava", "huatuo"])
    ]


def test_what_a_backbone_was_not_asked_is_empty() -> None:
    other = table(headline=SLAKE)
    short = replace(other, rows=other.rows[:3], baselines=())
    (block,) = overviews([table(), short], LAYOUT)
    cells = {one.method: one.cells for one in (*block.rows, *block.baselines)}
    assert cells["dpo"][1] is None
    assert cells["majority"][1] is None
    assert cells["sft"][1] is not None


def test_bold_is_only_what_is_separated_from_all_others() -> None:
    (block,) = overviews([table(), table(headline=SLAKE, rank=SHARED)], LAYOUT)
    assert bold(block) == [("dpo", 0)]


def test_without_any_separation_nothing_is_bold() -> None:
    same = (PairTest("dpo", "irpo", 0.1, 0.6),)
    (block,) = overviews([table(pairs=same), table(headline=SLAKE, pairs=())], LAYOUT)
    assert bold(block) == []


def test_what_is_below_one_that_is_not_ranked_is_not_bold() -> None:
    rows = table().rows
    above = replace(table(), rows=(row("base", 0.9, role=Role.CONTROL), *rows[1:]))
    (block,) = overviews([above, table(headline=SLAKE)], LAYOUT)
    assert bold(block) == [("dpo", 1)]


class Cells(HTMLParser):
    """The rows of a page's main tables, as lists of words, and which of their cells are bold."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.bold: list[str] = []
        self._inside = self._best = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "table":
            self._inside = "overview" in (named.get("class") or "")
        if self._inside and tag == "tr":
            self.rows.append([])
        if self._inside and tag in ("td", "th"):
            self.rows[-1].append("")
            self._best = named.get("class") == "best"

    def handle_data(self, data: str) -> None:
        if self._inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] = f"{self.rows[-1][-1]} {data}".strip()
            self.rows[-1][-1] = " ".join(self.rows[-1][-1].split())
            if self._best and data.strip():
                self.bold.append(data.strip())

    def of(self, method: str) -> list[str]:
        return next(one[1:] for one in self.rows if one and one[0] == method)


def drawn(blocks: list[Overview]) -> str:
    return environment().get_template("overview.html.j2").render(overviews=blocks)


def test_the_page_shows_score_difference_and_mark() -> None:
    html = drawn(overviews(whole(), LAYOUT))
    cells = Cells(html)
    assert cells.of("dpo")[0] == "75.0 [70.0, 80.0] +10.0 [+5.0, +15.0] ▲"
    assert cells.of("irpo")[0] == "50.0 [45.0, 55.0] −10.0 [−15.0, −5.0] ▼"
    assert cells.of("sft")[0] == "60.0 [55.0, 65.0] +1.0 [−2.0, +4.0]"
    assert cells.of("sft-continued")[0] == "61.0 [56.0, 66.0]"
    assert cells.of("majority")[0] == "40.0 [35.0, 45.0]"
    # A mark is said to those who do not see it.
    assert {one.get("aria-label") for one in Page(html).every("span") if one.get("role") == "img"} == {
        "▲ higher",
        "▼ lower",
    }


def test_the_files_say_what_the_page_says() -> None:
    blocks = overviews(whole(), LAYOUT)[:1]
    cells = Cells(drawn(blocks))
    (sheet,) = overview_sheets(blocks, {})
    lines = latex_text(sheet).splitlines()
    for method in LAYOUT.methods:
        at = next(number for number, line in enumerate(lines) if line.startswith(f"{method} &"))
        scores = lines[at].removesuffix(r" \\").split(" & ")[1:]
        below = lines[at + 1].removesuffix(r" \\").split(" & ")
        less = below[1:] if below[0] == "" else [""] * len(scores)
        for shown, upper, lower in zip(cells.of(method), scores, less, strict=True):
            upper = re.sub(r"^\\textbf\{(.*)\}$", r"\1", upper)
            assert escape(shown) == f"{upper} {lower}".strip()
    bolds = [found for line in lines for found in re.findall(r"\\textbf\{([^{]+)", line)]
    assert bolds == ["75.0 "] * 3
    assert len([text for text in cells.bold if text == "75.0"]) == 3


def test_the_csv_has_the_numbers() -> None:
    (sheet, _) = overview_sheets(overviews(whole(), LAYOUT), {})
    assert sheet.name == "overview.llava"
    rows = {line["Method"]: line for line in csv.DictReader(csv_text(sheet).splitlines())}
    column = "rad: Accuracy, closed questions"
    less = f"{column}, difference to sft-continued"
    assert float(rows["dpo"][column]) == 0.75
    assert float(rows["dpo"][f"{column} low"]) == pytest.approx(0.7)
    assert [float(rows["dpo"][less + end]) for end in ("", " low", " high", " p")] == [0.1, 0.05, 0.15, 0.01]
    assert rows["sft-continued"][less] == rows["majority"][less] == ""


def test_heads_of_tasks_span_their_columns_in_latex() -> None:
    (sheet, _) = overview_sheets(overviews(whole(), LAYOUT), {})
    lines = latex_text(sheet).splitlines()
    assert r" & \multicolumn{2}{l}{rad} & \multicolumn{1}{l}{slake} \\" in lines
    assert {line.count("&") for line in lines if line.endswith(r"\\") and "multicolumn" not in line} == {3}


def many(count: int) -> list[ScoreTable]:
    """Return tables of which each has a method that blanking the image takes nothing from."""
    same = (replace(row("dpo", 0.7), gaps={"blank": SAME}),)
    return [ScoreTable("tiny", Headline(f"task-{n}", "accuracy", "all"), (), same, ()) for n in range(count)]


def test_few_cautions_keep_their_words_and_many_are_summed_up() -> None:
    nothing = RunFolder(Path(), {}, {}, {}, {}, (), (), ())
    layout = Layout((), ("tiny",), ("dpo",), ())
    (few,) = cautions(nothing, many(3), layout)
    assert (len(few.texts), few.summary) == (3, "")
    (found,) = cautions(nothing, [*many(4), table()], layout)
    assert len(found.texts) == 4
    assert found.summary.startswith("On 4 of 5 headline figures")


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = Shape(
        backbones=("tiny", "other"), methods=("sft", "dpo", "irpo"), controls=("sft",), curves=False
    )
    run = make_run(tmp_path_factory.mktemp("overview") / "run", shape)
    write_report(run, Images.NONE)
    return run


def test_a_run_has_a_table_of_each_backbone(reported: Path) -> None:
    html = (reported / "report.html").read_text(encoding="utf-8")
    assert html.index('class="overview"') < html.index('class="scores"')
    assert len([one for one in Page(html).every("table") if one.get("class") == "overview"]) == 2
    assert [one[0] for one in Cells(html).rows].count("dpo") == 2
    names = {path.name for path in (reported / "tables").glob("overview.*")}
    assert names == {f"overview.{name}.{ending}" for name in ("tiny", "other") for ending in ("csv", "tex")}


@pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium is installed")
def test_a_wide_table_scrolls_in_its_own_box(tmp_path: Path, reported: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(reported, run)
    with browser(tmp_path / "profile") as chromium:
        chromium.open(run / "report.html", width=280, phone=True)
        assert chromium.run("document.documentElement.scrollWidth") <= 280
        box = "document.querySelector('.overview').parentElement"
        assert chromium.run(f"{box}.scrollWidth > {box}.clientWidth")
        # The methods' names stay in sight.
        chromium.run(f"{box}.scrollLeft = 40")
        left = "document.querySelector('.overview tbody th').getBoundingClientRect().left"
        assert chromium.run(f"{left} >= {box}.getBoundingClientRect().left")
