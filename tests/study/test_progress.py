"""What people see of the work."""

import io
import time

from rich.console import Console

from medpref.progress import Progress


def test_a_terminal_shows_count_rate_and_time_left() -> None:
    file = io.StringIO()
    with Progress(Console(file=file, force_terminal=True, width=120)) as progress:
        progress.start(1, 0)
        progress.begin("answers")
        progress.update("answers", 40, 0)
        for _ in range(8):
            time.sleep(0.03)
            progress.update("answers", None, 5)
        progress._bars.refresh()
    shown = file.getvalue()
    assert "40/40" in shown
    assert "/s" in shown
    assert "left" in shown


def test_elsewhere_each_stage_is_a_line() -> None:
    file = io.StringIO()
    with Progress(Console(file=file, width=120)) as progress:
        progress.start(3, 2)
        progress.begin("answers")
        progress.end("answers", 1.25)
    assert "2 of 3 stages are done already." in file.getvalue()
    assert "answers (1.2 s)" in file.getvalue()
