"""Run a graph of stages on one machine, several side by side; finished ones are not run again."""

import multiprocessing as mp
import os
import queue
import signal
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from medpref.errors import RunError
from medpref.progress import Progress
from medpref.study.execute import die_with, execute, order, prepare_process
from medpref.study.stage import Stage, is_done

_updates: Any = None


def run_stages(
    stages: Mapping[str, Stage],
    keys: Mapping[str, str],
    run: Path,
    workers: int,
    progress: Progress,
    *,
    cache: Path,
) -> None:
    """Run every stage that is not done yet, each after those that it needs.

    Args:
        stages: by name.
        keys: by name.
        run: the run's folder.
        workers: processes side by side; with one, everything runs in this process.
        progress: told of starts, work done and ends.
        cache: where stages keep what others may use again.

    Raises:
        MedprefError: a stage failed; the others that were running are stopped, finished ones are kept.
    """
    ranked = order(stages)
    done = {name for name in ranked if is_done(run, name, keys[name])}
    progress.start(total=len(ranked), done=len(done))
    if len(done) == len(ranked):
        return
    if workers == 1:
        prepare_process()
        for name in stages:
            if name not in done:
                progress.begin(name)
                progress.end(name, execute(stages[name], keys[name], run, cache, progress.update))
        return
    _Pool(stages, keys, run, workers, progress, cache).run(
        [name for name in ranked if name not in done], done
    )


class _Pool:
    """The state of one parallel run."""

    def __init__(
        self,
        stages: Mapping[str, Stage],
        keys: Mapping[str, str],
        run: Path,
        workers: int,
        progress: Progress,
        cache: Path,
    ) -> None:
        self.stages = stages
        self.keys = keys
        self.folder = run
        self.workers = workers
        self.progress = progress
        self.cache = cache
        context = mp.get_context("spawn")
        self.updates: Any = context.Queue()
        self.executor = ProcessPoolExecutor(workers, context, _begin_worker, (self.updates, os.getpid()))

    def run(self, waiting: list[str], done: set[str]) -> None:
        """Keep every worker busy until nothing waits; stop all at the first failure."""
        running: dict[Future[float], str] = {}
        try:
            while waiting or running:
                ready = [name for name in waiting if self.stages[name].before() <= done]
                for name in ready[: self.workers - len(running)]:
                    waiting.remove(name)
                    self.progress.begin(name)
                    work = (self.stages[name], self.keys[name], self.folder, self.cache)
                    running[self.executor.submit(_work, *work)] = name
                finished, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                self._pass_on_updates()
                for future in finished:
                    name = running.pop(future)
                    self.progress.end(name, future.result())
                    done.add(name)
        except BrokenProcessPool as error:
            raise RunError(
                "a worker process was killed, perhaps for lack of memory",
                where=", ".join(running.values()),
                remedy="Start the same command again; with workers: 1 the study needs less memory.",
            ) from error
        finally:
            self._stop()

    def _pass_on_updates(self) -> None:
        while True:
            try:
                self.progress.update(*self.updates.get_nowait())
            except queue.Empty:
                return

    def _stop(self) -> None:
        """End the workers; what they were at is left in folders that the next run goes on from."""
        processes = list((self.executor._processes or {}).values())
        self.executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(timeout=5)


def _begin_worker(updates: Any, parent: int) -> None:
    global _updates
    _updates = updates
    # Ctrl-C reaches the whole group; the main process decides what becomes of the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with(parent)
    prepare_process()


def _work(stage: Stage, key: str, run: Path, cache: Path) -> float:
    return execute(stage, key, run, cache, lambda *update: _updates.put(update))
