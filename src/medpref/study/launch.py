"""Run a stage's work in several processes at once, as an accelerate configuration says.

The stage's own process starts them and waits; they find what to do in a file in the stage's folder. What the
first of them prints with `MARK` in front is progress, everything else goes to a log beside it.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import yaml

from medpref.errors import InputError, RunError
from medpref.files import disk_errors, write_json
from medpref.study.stage import StageContext

MARK = "medpref-advance "
ORDER = "launch.json"
LOG = "launch.log"


def launch(context: StageContext, work: str, config: Path, processes: int | None) -> None:
    """Run the stage function `work` on `context` in several processes.

    Args:
        context: the stage's.
        work: a name in `medpref.study.stage.stage_functions`.
        config: a file of accelerate's, such as those in ``configs``.
        processes: how many; by default as many as the file says.

    Raises:
        InputError: there is no such file.
        RunError: a process failed; the message ends with what it said last.
    """
    if not config.is_file():
        raise InputError("there is no such accelerate configuration", where=str(config))
    order = context.folder / ORDER
    write_json(
        order,
        {
            "work": work,
            "folder": str(context.folder),
            "params": dict(context.params),
            "needs": {role: str(folder) for role, folder in context.needs.items()},
            "run": str(context.run),
            "cache": str(context.cache),
            "parent": os.getpid(),
        },
    )
    command = _command(config, processes, ["--module", "medpref.study.rank", str(order)])
    log = context.folder / LOG
    with disk_errors(log), log.open("w", encoding="utf-8") as file:
        code = _follow(command, context, file.write)
    if code:
        said = log.read_text(encoding="utf-8").strip().splitlines()
        raise RunError(
            f"a process of the launch failed: {_cause(said)}",
            remedy=f"What the processes said is in {log}.",
        )
    order.unlink()


def _command(config: Path, processes: int | None, rest: list[str]) -> list[str]:
    """Return the command that starts the processes.

    Without GPUs accelerate's own would start a single one, so that torch's starts them there.
    """
    if not torch.cuda.is_available():
        count = processes or yaml.safe_load(config.read_text(encoding="utf-8")).get("num_processes", 1)
        command = ["torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
        return [sys.executable, "-m", *command, *rest]
    command = ["accelerate.commands.launch", "--config_file", str(config)]
    command += ["--num_processes", str(processes)] if processes else []
    # Launches side by side on one machine must not meet at one port.
    return [sys.executable, "-m", *command, "--main_process_port", "0", *rest]


def _follow(command: list[str], context: StageContext, write: Callable[[str], object]) -> int:
    """Start `command`, pass its progress on, write the rest, and return its exit code."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        try:
            for line in process.stdout or ():
                if line.startswith(MARK):
                    context.advance(int(line.removeprefix(MARK)))
                else:
                    write(line)
        except BaseException:
            process.terminate()
            raise
    return process.returncode


def _cause(said: list[str]) -> str:
    """Return the line in which a process told what went wrong."""
    errors = [line for line in said if "Error" in line and "ChildFailedError" not in line]
    return (errors or said or ["it said nothing"])[0].strip()
