"""Headless Chromium, driven over a pipe in its own protocol: no driver, no port, no package."""

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

LONGEST = 120.0
"""Seconds until what a test waits for counts as never coming."""
# The browser reads from descriptor 3 and writes to 4.
_LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
_KEYS = {"Enter": ("Enter", 13, "\r"), "Escape": ("Escape", 27, "")}


def chromium() -> str | None:
    """Return where a Chromium is installed, or None."""
    return next(
        (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
    )


needs_chromium = pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")


class BrowserError(Exception):
    """The browser cannot do what it was asked, as where a page has no such element yet."""


class Browser:
    """A Chromium with a profile of its own."""

    def __init__(self, profile: Path) -> None:
        ours, theirs = _pipe(), _pipe()
        command = [
            str(chromium()),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--window-size=1400,1000",
            f"--user-data-dir={profile}",
            "--remote-debugging-pipe",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, str(ours[0]), str(theirs[1]), *command],
            pass_fds=(ours[0], theirs[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._to, self._from = ours[1], theirs[0]
        self._rest = b""
        self._number = 0

    def ask(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        os.write(self._to, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            found = self._read()
            if found.get("id") == self._number:
                if "error" in found:
                    raise BrowserError(found["error"]["message"])
                return dict(found["result"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            there, _, _ = select.select([self._from], [], [], LONGEST)
            data = os.read(self._from, 1 << 16) if there else b""
            assert data, "the browser is gone, or says nothing"
            self._rest += data
        first, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(first))

    def person(self) -> str:
        """Return a context of its own: cookies and storage like those of another browser."""
        return str(self.ask("Target.createBrowserContext")["browserContextId"])

    def tab(self, address: str, person: str | None = None) -> "Tab":
        whose = {"browserContextId": person} if person else {}
        target = self.ask("Target.createTarget", url=address, **whose)["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Tab(self, session, target)

    def close(self) -> None:
        try:
            self.ask("Browser.close")
            self._process.wait(LONGEST)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._to)
            os.close(self._from)


class Tab:
    """A page of a browser."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.ask(method, self._session, **params)

    def run(self, script: str) -> Any:
        """Run an expression in the page and return its value; promises are waited for."""
        result = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise BrowserError(result["exceptionDetails"])
        return result["result"].get("value")

    def wait(self, script: str) -> Any:
        """Wait until an expression is true, and return it."""
        end = time.monotonic() + LONGEST
        while not (value := self._try(script)):
            assert time.monotonic() < end, f"never: {script}; the page: {self.run('document.body.innerText')}"
            time.sleep(0.02)
        return value

    def _try(self, script: str) -> Any:
        try:
            return self.run(script)
        except BrowserError:
            return None

    def text(self, ident: str) -> str:
        return str(self.run(f"document.getElementById({ident!r}).textContent"))

    def press(self, key: str) -> None:
        """Press and release a key."""
        name, code, text = _KEYS.get(key, (key, ord(key[0].upper()), key))
        rest = {"key": name, "windowsVirtualKeyCode": code}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **rest)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **rest)

    def write(self, text: str) -> None:
        self.ask("Input.insertText", text=text)

    def close(self) -> None:
        self._browser.ask("Target.closeTarget", targetId=self._target)


def _pipe() -> tuple[int, int]:
    """Return a pipe whose ends lie above the descriptors that the browser wants for itself."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20))
        os.close(end)
    return ends[0], ends[1]


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    browser = Browser(profile)
    try:
        yield browser
    finally:
        browser.close()
