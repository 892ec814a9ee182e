import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import EXECUTABLE, Browser, browser

from medpref.report import Images, write_report

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium is installed")

TAB, DOWN, ENTER, SPACE = ("Tab", 9), ("ArrowDown", 40), ("Enter", 13, "\r"), (" ", 32, " ")
SHOWN = "[...document.querySelectorAll('.card')].filter((card) => !card.hidden)"
# What a card says, by the marks that a reader sees.
READ = """.map((card) => ({
  kind: card.querySelector('.tags').textContent.split(' · ')[0],
  rows: [...card.querySelectorAll('.answers tr')].map((row) => ({
    method: row.querySelector('th').textContent,
    right: row.querySelector('.verdict').textContent.includes('✓'),
    errors: row.querySelector('.erring')?.textContent.split(', ') ?? [],
  })),
}))"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def run(whole_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser") / "run"
    shutil.copytree(whole_run, folder)
    write_report(folder)
    return folder


def choose(chromium: Browser, **values: str) -> list[dict[str, Any]]:
    """Set the filters and return the cards that are left."""
    for name in ("kind", "method", "group", "error"):
        field = f"document.getElementById('filter-{name}')"
        chromium.run(f"{field}.value = {values.get(name, '')!r}")
        assert chromium.run(f"{field}.value") == values.get(name, ""), "there is such a choice"
    chromium.run("document.getElementById('filters').dispatchEvent(new Event('change'))")
    return list(chromium.run(SHOWN + READ))


def test_the_page_is_complete_without_complaints(chromium: Browser, run: Path) -> None:
    chromium.media()
    chromium.open(run / "report.html")
    assert chromium.complaints == []
    loaded = chromium.run("[...document.images].map((image) => image.naturalWidth > 0)")
    assert len(loaded) == 48
    assert all(loaded)


@pytest.mark.parametrize("width", [320, 390, 800, 1280])
def test_nothing_sticks_out(chromium: Browser, run: Path, width: int) -> None:
    chromium.media()
    chromium.open(run / "report.html", width=width, phone=width < 800)
    assert chromium.run("document.documentElement.scrollWidth") <= width
    assert chromium.run("innerWidth") == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(chromium: Browser, run: Path, scheme: str) -> None:
    chromium.media(scheme=scheme)
    chromium.open(run / "report.html")
    colours = chromium.run(
        """(() => {
          const ground = (node) => {
            const colour = getComputedStyle(node).backgroundColor;
            return colour === 'rgba(0, 0, 0, 0)' && node.parentElement ? ground(node.parentElement) : colour;
          };
          const found = new Set();
          for (const node of document.querySelectorAll('body *')) {
            const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
            if (!own || !node.checkVisibility() || node.matches('script, style, title')) continue;
            const style = getComputedStyle(node);
            const colour = node instanceof SVGElement ? style.fill : style.color;
            found.add(colour + '|' + ground(node instanceof SVGElement ? node.closest('svg') : node));
          }
          return [...found];
        })()"""
    )
    pairs = [tuple(map(luminance, pair.split("|"))) for pair in colours]
    assert len(pairs) > 5
    assert (pairs[0][0] > pairs[0][1]) == (scheme == "dark")
    contrasts = {text: (max(p) + 0.05) / (min(p) + 0.05) for text, p in zip(colours, pairs, strict=True)}
    assert {text: value for text, value in contrasts.items() if value < 4.5} == {}


def luminance(colour: str) -> float:
    """Return the relative luminance of an rgb() colour (WCAG 2)."""
    red, green, blue = (int(value) / 255 for value in re.findall(r"\d+", colour)[:3])
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_filters_show_what_they_say(chromium: Browser, run: Path) -> None:
    chromium.media()
    chromium.open(run / "report.html")
    everything = choose(chromium)
    assert len(everything) == 48

    def same(found: list[dict[str, Any]], wanted: Any) -> None:
        assert 0 < len(found) < len(everything)
        assert found == [card for card in everything if wanted(card)]

    def right(card: dict[str, Any]) -> dict[str, bool]:
        return {row["method"]: row["right"] for row in card["rows"]}

    same(choose(chromium, kind="side"), lambda card: card["kind"] == "side")
    same(choose(chromium, group="SPLIT"), lambda card: len(set(right(card).values())) == 2)
    lost = choose(chromium, group="REGRESSION", method="dpo")
    same(lost, lambda card: right(card)["sft"] and not right(card)["dpo"])
    same(choose(chromium, group="GAIN"), lambda c: not right(c)["sft"] and any(right(c).values()))
    same(choose(chromium, group="WRONG", method="irpo"), lambda card: not right(card)["irpo"])
    same(choose(chromium, group="RIGHT"), lambda card: all(right(card).values()))
    same(
        choose(chromium, error="anatomical", method="dpo"),
        lambda card: any("anatomical" in row["errors"] for row in card["rows"] if row["method"] == "dpo"),
    )
    count = chromium.run("document.getElementById('filter-count').textContent")
    assert count == f"{len(chromium.run(SHOWN + READ))} of 48 shown"


def test_everything_can_be_reached_by_keys(chromium: Browser, run: Path) -> None:
    chromium.media()
    chromium.open(run / "report.html")
    chromium.press(*TAB)
    assert chromium.run("document.activeElement.className") == "skip"
    assert chromium.run("document.activeElement.getBoundingClientRect().left") >= 0, "it is seen when reached"
    chromium.press(*ENTER)
    assert chromium.run("location.hash") == "#scores"
    chromium.run("document.getElementById('filter-kind').focus({preventScroll: true})")
    chromium.press(*DOWN)
    assert chromium.run("document.getElementById('filter-kind').value") != ""
    assert len(chromium.run(SHOWN + READ)) < 48
    for _ in range(4):
        chromium.press(*TAB)
    assert chromium.run("document.activeElement.type") == "reset"
    outline = chromium.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline not in ("none", ""), "what has the focus is marked"
    chromium.press(*ENTER)
    chromium.run("new Promise((done) => setTimeout(done, 20))")
    assert len(chromium.run(SHOWN + READ)) == 48
    chromium.press(*TAB)
    chromium.press(*SPACE)
    hidden = "getComputedStyle(document.querySelector('.lesion')).display"
    assert chromium.run(hidden) == "none"


def test_paper_has_everything_unfolded(chromium: Browser, run: Path) -> None:
    chromium.media()
    chromium.open(run / "report.html")
    assert chromium.run("document.querySelectorAll('details[open]').length") == 0
    paper = chromium.paper()
    assert paper.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) > 5
    assert chromium.run("document.querySelectorAll('details:not([open])').length") == 0
    chromium.media(medium="print", scheme="dark")
    shown = "getComputedStyle(document.querySelector('%s')).%s"
    assert chromium.run(shown % ("nav", "display")) == "none"
    assert chromium.run(shown % (".filters", "display")) == "none"
    assert chromium.run(shown % ("body", "backgroundColor")) == "rgb(255, 255, 255)"
    assert luminance(chromium.run(shown % (".caption, td", "color"))) < 0.1


def test_images_may_lie_beside_the_page(chromium: Browser, whole_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    whole = write_report(run).stat().st_size
    page = write_report(run, Images.BESIDE)
    assert page.stat().st_size < whole
    assert "data:image" not in page.read_text(encoding="utf-8")
    chromium.media()
    chromium.open(page)
    assert chromium.complaints == []
    assert all(chromium.run("[...document.images].map((image) => image.naturalWidth > 0)"))
    images = list((run / "report-images").iterdir())
    assert images
    alone = write_report(run, Images.NONE)
    chromium.open(alone)
    assert chromium.run("document.images.length") == 0
    assert chromium.run("document.querySelectorAll('.missing').length") == 48
