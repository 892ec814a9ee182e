"""One of the processes of a launched stage: ``python -m medpref.study.rank ORDER``, started by accelerate."""

import os
import sys
import threading
import time
from pathlib import Path

import torch
from accelerate import PartialState

from medpref.files import read_json
from medpref.study import stages as stages
from medpref.study.execute import prepare_process
from medpref.study.launch import MARK
from medpref.study.stage import StageContext, stage_functions


def main(order: Path) -> None:
    """Do this process's share of the work that the file `order` tells."""
    said = read_json(order)
    _end_with(said["parent"])
    prepare_process()
    state = PartialState(cpu=not torch.cuda.is_available())

    def advance(amount: int) -> None:
        if state.is_main_process:
            print(f"{MARK}{amount}", flush=True)

    context = StageContext(
        folder=Path(said["folder"]),
        params=said["params"],
        needs={role: Path(folder) for role, folder in said["needs"].items()},
        run=Path(said["run"]),
        cache=Path(said["cache"]),
        advance=advance,
        expect=lambda _: None,
    )
    stage_functions[said["work"]](context)
    state.destroy_process_group()


def _end_with(process: int) -> None:
    """End this process as soon as `process`, which asked for the launch, is gone."""

    def watch() -> None:
        while True:
            try:
                os.kill(process, 0)
            except ProcessLookupError:
                os._exit(1)
            time.sleep(0.5)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
