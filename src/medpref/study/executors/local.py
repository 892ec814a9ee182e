"""Processes on this machine. Each has a pipe of its own, so that a killed one takes nothing with it."""

import multiprocessing as mp
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from medpref.study.executors.base import ExecutorKind, ExecutorSettings, executors
from medpref.study.stage import Stage


class _Worker:
    """A process that works on one order after the other."""

    def __init__(self) -> None:
        context = mp.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, os.getpid()), daemon=False)
        self.process.start()
        theirs.close()
        self.busy = False

    def give(self, order: Path) -> None:
        self.busy = True
        # One that has just died is found out by `ended`.
        with suppress(OSError):
            self._pipe.send(str(order))

    def ended(self) -> bool:
        """Tell whether the order is done with, or the process gone."""
        if not self.busy:
            return True
        try:
            if self._pipe.poll():
                self._pipe.recv()
                self.busy = False
        except (EOFError, OSError):
            # Its end of the pipe is closed: wait until the system says why.
            self.process.join(timeout=5)
            self.busy = False
        return not self.busy or not self.process.is_alive()

    def stop(self) -> None:
        self.process.terminate()


class _LocalJob:
    """One order at a worker."""

    def __init__(self, worker: _Worker) -> None:
        self._worker = worker
        self._over = False

    def ended(self) -> bool:
        self._over = self._over or self._worker.ended()
        return self._over

    def told(self) -> str:
        code = self._worker.process.exitcode
        if code is None:
            return "the worker stopped its work without a word"
        if code < 0:
            return f"the worker process was killed ({signal.Signals(-code).name}), perhaps for lack of memory"
        return f"the worker process ended with code {code}"


class LocalExecutor:
    """Worker processes on this machine; one that dies is replaced when there is something to do."""

    settle = 0.0

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._workers: list[_Worker] = []

    def start(self, order: Path, stage: Stage) -> _LocalJob:
        """Give an order to an idle worker, or to a new one."""
        self._workers = [worker for worker in self._workers if worker.process.is_alive()]
        idle = next((worker for worker in self._workers if not worker.busy), None)
        if idle is None:
            idle = _Worker()
            self._workers.append(idle)
        idle.give(order)
        return _LocalJob(idle)

    def stop(self) -> None:
        """End the workers; what they were at is left in folders that the next run goes on from."""
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.process.join(timeout=5)


def _serve(pipe: Any, parent: int) -> None:
    """Work on orders until the parent is gone."""
    from medpref.study.execute import die_with, prepare_process
    from medpref.study.job import work

    # Ctrl-C reaches the whole group; the main process decides what becomes of the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with(parent)
    prepare_process()
    while True:
        try:
            order = pipe.recv()
        except EOFError:
            return
        work(Path(order))
        pipe.send(None)


def _make(settings: ExecutorSettings, run: Path, workers: int) -> LocalExecutor:
    return LocalExecutor(workers)


executors.add("local", ExecutorKind("processes on this machine", ExecutorSettings, _make))
