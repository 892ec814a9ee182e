"""Scores that were computed once: by content, without the texts."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from medpref.files import disk_errors


class ScoreCache:
    """Scores by key, one file a metric that several runs may share.

    Args:
        file: lines of ``[key, value]``; made when the first scores come.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> dict[str, float]:
        """Return all scores; damaged lines are passed over."""
        scores: dict[str, float] = {}
        text = self.file.read_text(encoding="utf-8", errors="replace") if self.file.is_file() else ""
        for line in text.split("\n"):
            try:
                key, value = json.loads(line)
                scores[str(key)] = float(value)
            except (ValueError, TypeError):
                continue
        return scores

    def add(self, scores: Mapping[str, float]) -> None:
        """Keep scores. Raises `RunError` where the file cannot be written."""
        lines = "".join(json.dumps([key, value]) + "\n" for key, value in scores.items())
        with disk_errors(self.file):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            # One write at the end of the file: runs side by side do not tear each other's lines. The line
            # break in front ends a line that was cut short.
            handle = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(handle, f"\n{lines}".encode())
            finally:
                os.close(handle)
