"""The process of a metric, seen from outside: whatever happens to it becomes a reason."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WORKER = Path(__file__).with_name("worker.py")
_ORDER, _OUTPUT, _LOG = "order.json", "output.jsonl", "log.txt"
_GLANCE_S = 0.05


@dataclass(slots=True)
class Outcome:
    """What a process achieved.

    Attributes:
        values: a number or a reason for each pair that it came to, in order.
        loaded: whether the metric was ready to score.
        reason: why it ended before its last pair; None if it did not.
        module: the module that was missing, if that was the reason.
    """

    values: list[float | str] = field(default_factory=list)
    loaded: bool = False
    reason: str | None = None
    module: str | None = None


def run_process(
    python: str,
    scorer: Path,
    pairs: Sequence[tuple[str, str]],
    *,
    batch: int,
    timeout: float,
    environment: Mapping[str, str],
) -> Outcome:
    """Score `pairs` of (answer, reference) in a process of its own.

    Args:
        python: the interpreter.
        scorer: see `medpref.evaluation.radiology.base.Metric`.
        pairs: what is scored.
        batch: pairs at a time.
        timeout: seconds that loading, or one batch, may take.
        environment: the process's environment variables.
    """
    with tempfile.TemporaryDirectory(prefix="medpref-") as name:
        folder = Path(name)
        order = {
            "scorer": str(scorer),
            "batch": batch,
            "parent": os.getpid(),
            "pairs": [list(p) for p in pairs],
        }
        text = json.dumps({**order, "output": str(folder / _OUTPUT)})
        (folder / _ORDER).write_text(text, encoding="utf-8")
        with (folder / _LOG).open("w", encoding="utf-8") as log:
            try:
                process = subprocess.Popen(
                    [python, str(_WORKER), str(folder / _ORDER)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                    env=dict(environment),
                    start_new_session=True,
                )
            except OSError as error:
                return Outcome(reason=f"{python} cannot be started: {error.strerror}")
        try:
            in_time = _wait(process, folder / _OUTPUT, timeout)
        finally:
            _end(process)
        outcome = _read(folder / _OUTPUT)
        if outcome.reason is None and len(outcome.values) < len(pairs):
            outcome.reason = (
                _ending(process.returncode, folder / _LOG) if in_time else f"took over {timeout:g} s"
            )
        return outcome


def _wait(process: subprocess.Popen[bytes], output: Path, timeout: float) -> bool:
    """Wait for the end; tell whether it came before `timeout` seconds passed without a new line."""
    size, since = 0, time.monotonic()
    while process.poll() is None:
        written = output.stat().st_size if output.exists() else 0
        if written != size:
            size, since = written, time.monotonic()
        if time.monotonic() - since > timeout:
            return False
        time.sleep(_GLANCE_S)
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and those that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()


def _read(output: Path) -> Outcome:
    outcome = Outcome()
    for line in output.read_text(encoding="utf-8").split("\n") if output.exists() else []:
        try:
            said: dict[str, Any] = json.loads(line)
        except ValueError:
            continue  # the end of the file, or a line cut short by the end of the process
        outcome.loaded = outcome.loaded or "loaded" in said
        outcome.values += said.get("values", [])
        outcome.reason = said.get("failed", outcome.reason)
        outcome.module = said.get("module", outcome.module)
    return outcome


def _ending(code: int, log: Path) -> str:
    """Describe an end that the process did not announce."""
    if code < 0:
        name = signal.Signals(-code).name
        memory = " (often: out of memory)" if name == "SIGKILL" else ""
        return f"the process was ended by {name}{memory}"
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"the process ended with code {code}" + (f": {said[-1].strip()}" if said else "")
