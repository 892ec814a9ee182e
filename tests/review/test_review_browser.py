"""Two reviewers in a real browser, a server that is killed between, and what the report makes of it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.report.pages import Page
from tests.review.browser import LONGEST, Browser, Tab, browsing, needs_chromium

from medpref.files import read_jsonl, write_jsonl
from medpref.report import write_report
from medpref.review.export import JUDGEMENTS, LOGS
from medpref.review.opening import open_review

pytestmark = needs_chromium
HOSTILE = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>'
SAVED = "document.getElementById('state').textContent === 'All saved'"
# The sum of all grey values that the canvas shows.
LIGHT = """() => {
    const canvas = document.getElementById('canvas');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return data.reduce((sum, value, place) => place % 4 ? sum : sum + value, 0);
}"""
DONE = "document.getElementById('progress-text').textContent.startsWith('All ')"


class Served:
    """``medpref review`` as a process of its own, always at one port."""

    def __init__(self, run: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._run = run
        self.address = f"http://127.0.0.1:{self.port}"

    def start(self, *options: str) -> dict[str, str]:
        """Start, and return the links that it prints."""
        command = [sys.executable, "-m", "medpref", "review", str(self._run), "--port", str(self.port)]
        self._process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        links = {}
        for _ in range(1 + options.count("--reviewer")):
            found = re.fullmatch(r"\s+(\w+): (http\S+)\n", self._process.stdout.readline())
            if found:
                links[found[1]] = found[2]
        return links

    def end(self, how: signal.Signals) -> None:
        os.kill(self._process.pid, how)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with browsing(tmp_path / "profile") as found:
        yield found


@pytest.fixture
def served(run: Path) -> Iterator[Served]:
    server = Served(run)
    yield server
    if server._process.returncode is None:
        server.end(signal.SIGKILL)


def sign_in(browser: Browser, link: str) -> Tab:
    tab = browser.tab(link, browser.person())
    tab.wait("document.getElementById('place')?.textContent")
    return tab


def judge(tab: Tab, *keys: str) -> None:
    for key in keys:
        tab.press(key)


def place(tab: Tab) -> str:
    return tab.text("place")


def next_open(tab: Tab) -> None:
    before = place(tab)
    tab.press("Enter")
    tab.wait(f"document.getElementById('place').textContent !== {json.dumps(before)}")


def judge_rest(tab: Tab, first: str) -> None:
    """Judge everything that is open: answers by the given key at first and then in turns, comparisons too."""
    keys = [first, *"1234" * 20]
    while not tab.run(DONE):
        done = tab.text("progress-text")
        tab.press(keys.pop(0))
        tab.wait(f"document.getElementById('progress-text').textContent !== {json.dumps(done)}")
        if not tab.run(DONE):
            next_open(tab)


def test_two_reviewers_a_kill_between_and_the_report(run: Path, browser: Browser, served: Served) -> None:
    links = served.start("--reviewer", "Ada", "--reviewer", "Grace", "--set", "questions=4")
    ada, grace = (sign_in(browser, links[name]) for name in ("Ada", "Grace"))
    assert ada.run("location.href") == f"{served.address}/", "the token stays in the address bar"

    judge(ada, "3", "s", "7")
    ada.wait(SAVED)
    judge(ada, "/")
    ada.write("no such finding, c.f. image")
    judge(ada, "Escape")
    judge(grace, "1")
    grace.wait(SAVED)
    served.end(signal.SIGKILL)

    # Ada goes on while nobody is there; what she says is not claimed to be saved, and waits.
    judge(ada, "2")
    ada.wait("document.getElementById('state').textContent.includes('not saved yet')")
    assert not served.start()
    ada.wait(SAVED)
    for tab, first in ((ada, "2"), (grace, "1")):
        next_open(tab)
        judge_rest(tab, first)
        tab.wait(SAVED)
    assert all(
        name.startswith(served.address)
        for tab in (ada, grace)
        for name in tab.run("performance.getEntriesByType('resource').map((one) => one.name)")
    )
    served.end(signal.SIGTERM)

    rows = [row for _, row in read_jsonl(run / LOGS / JUDGEMENTS)]
    with open_review(run, {}) as (store, _):
        items = set(store.plan.by_id)
    for name in links:
        assert sorted(row["item"] for row in rows if row["reviewer"] == name) == sorted(items)
    assert all(row["complete"] for row in rows)
    (said,) = [row for row in rows if row["comment"]]
    assert (said["verdict"], said["errors"], said["harm"]) == ("partly", ["symptom"], "moderate")
    assert said["comment"] == "no such finding, c.f. image"

    page = Page(write_report(run).read_text())
    text = " ".join(page.text)
    assert "review" in page.sections
    assert "κ Ada – Grace" in text
    assert f"Ada {len(items)} of {len(items)} and Grace {len(items)} of {len(items)}" in text


def one_that_asks(*tabs: Tab) -> Tab:
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        for tab in tabs:
            if tab.run("document.getElementById('conflict').open"):
                return tab
    raise AssertionError("no tab asks which judgement holds")


@pytest.mark.slow
def test_two_tabs_lose_and_double_nothing(run: Path, browser: Browser, served: Served) -> None:
    links = served.start("--reviewer", "Ada", "--set", "questions=3")
    person = browser.person()
    first = browser.tab(links["Ada"], person)
    first.wait("document.getElementById('place')?.textContent")
    second = browser.tab(served.address, person)
    second.wait("document.getElementById('place')?.textContent")
    assert place(first) == place(second)

    # A tab that hears of the other one shows what it saved.
    judge(first, "1")
    first.wait(SAVED)
    second.wait("document.querySelector('input[value=\"correct\"]').checked")

    # Both judge while the server is away, so that neither hears of the other: the later one has to ask.
    served.end(signal.SIGKILL)
    judge(first, "4")
    judge(second, "3")
    for tab in (first, second):
        tab.wait("document.getElementById('state').textContent.includes('not saved yet')")
    served.start()
    stale = one_that_asks(first, second)
    kept = "cannot-tell" if stale is second else "wrong"
    assert stale.text("conflict-theirs") in ("Can’t tell", "Wrong")
    with open_review(run, {}) as (store, _):
        (saved,) = store.all()
    assert (saved.revision, saved.judgement.verdict) == (2, kept)  # type: ignore[union-attr]
    stale.run("document.getElementById('keep-mine').click()")
    stale.wait(SAVED)
    with open_review(run, {}) as (store, _):
        (saved,) = store.all()
    assert (saved.revision, saved.judgement.verdict) == (3, {"wrong": "cannot-tell"}.get(kept, "wrong"))  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_closed_tab_leaves_its_judgement_to_the_next(browser: Browser, served: Served, run: Path) -> None:
    links = served.start("--reviewer", "Ada", "--set", "questions=3")
    person = browser.person()
    tab = browser.tab(links["Ada"], person)
    tab.wait("document.getElementById('place')?.textContent")
    served.end(signal.SIGKILL)
    judge(tab, "3", "k")
    tab.wait("document.getElementById('state').textContent.includes('not saved yet')")
    tab.close()
    served.start()
    again = browser.tab(served.address, person)
    again.wait("document.getElementById('progress-text').textContent.startsWith('1 of')")
    again.wait("Object.keys(localStorage).length === 0")
    with open_review(run, {}) as (store, _):
        (saved,) = store.all()
    assert saved.judgement.errors == ("knowledge",)  # type: ignore[union-attr]


def test_what_models_say_is_text_and_the_image_can_be_looked_at(
    run: Path, browser: Browser, served: Served
) -> None:
    for log in (run / "logs" / "tiny").rglob("*.normal.eval.jsonl"):
        rows = [row for _, row in read_jsonl(log)]
        write_jsonl(log, [rows[0], *({**row, "prediction": HOSTILE, "prompt": HOSTILE} for row in rows[1:])])
    links = served.start("--reviewer", "Ada", "--set", "questions=30")
    tab = sign_in(browser, links["Ada"])
    assert tab.run("document.querySelector('.answer .text').textContent") == HOSTILE
    assert tab.text("question") == HOSTILE
    assert tab.run("document.querySelectorAll('main img, main script').length") == 0
    assert tab.run("document.title") == "Review of made-up"

    sample = f"({LIGHT})()"
    plain = tab.wait(sample)
    tab.press("]")
    tab.wait(f"{sample} !== {plain} && document.getElementById('window').value === '272'")
    tab.press("0")
    tab.wait(f"{sample} === {plain}")
    tab.press("+")
    tab.wait(f"{sample} !== {plain}")
    while tab.run("document.getElementById('region').hidden"):
        next_open(tab)
    tab.press("r")
    tab.wait("document.getElementById('region').getAttribute('aria-pressed') === 'true'")
    judge(tab, "1")
    tab.wait(SAVED)
    with open_review(run, {}) as (store, _):
        (saved,) = store.all()
    assert saved.judgement.opened == ("region",)
