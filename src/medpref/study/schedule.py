"""Run a graph of stages, several side by side; finished ones are not run again."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from medpref.errors import RunError
from medpref.files import disk_errors, read_json
from medpref.progress import Progress
from medpref.study.cache import StageStore, layouts
from medpref.study.execute import execute, order, prepare_process
from medpref.study.executors import Executor, ExecutorSettings, Job, executors
from medpref.study.job import JOBS, Follower, failure, note, write_order
from medpref.study.stage import STAMP, Stage, is_done, stage_folder

# Seconds between two looks at what runs.
LOOK_EVERY = 0.1


class Where(NamedTuple):
    """Where stages are worked on.

    Attributes:
        executor: the name of one of `medpref.study.executors`.
        settings: of that executor.
        workers: processes side by side, on this machine.
    """

    executor: str = "local"
    settings: ExecutorSettings = ExecutorSettings()
    workers: int = 1

    @property
    def here(self) -> bool:
        """Whether everything runs in this process."""
        return self.executor == "local" and self.workers == 1


def run_stages(
    stages: Mapping[str, Stage],
    keys: Mapping[str, str],
    run: Path,
    where: Where,
    progress: Progress,
    *,
    cache: Path,
    store: StageStore | None = None,
) -> None:
    """Run every stage that is not done yet, each after those that it needs.

    Args:
        stages: by name.
        keys: by name.
        run: the run's folder.
        where: what works on them.
        progress: told of starts, work done and ends.
        cache: where stages keep what others may use again.
        store: whole stages of other runs.

    Raises:
        MedprefError: a stage failed, or lost its worker too often; the others that were running are stopped,
            finished ones are kept.
    """
    ranked = order(stages)
    done = {name for name in ranked if is_done(run, name, keys[name])}
    progress.start(total=len(ranked), done=len(done))
    if len(done) == len(ranked):
        return
    places = layouts(stages)
    if where.here:
        prepare_process()
        for name in stages:
            if name not in done:
                progress.begin(name)
                work = (stages[name], keys[name], run, cache, progress.update)
                progress.end(name, execute(*work, store=store, layout=places[name]))
        return
    with disk_errors(run):
        (run / JOBS).mkdir(parents=True, exist_ok=True)
    executor = executors[where.executor].make(where.settings, run, where.workers)
    orders = _Orders(stages, keys, places, run, cache, store)
    dispatch = _Dispatch(orders, executor, where.settings.retries, progress)
    try:
        dispatch.run([name for name in ranked if name not in done], done)
    finally:
        executor.stop()


@dataclass(frozen=True, slots=True)
class _Orders:
    """What orders are written from."""

    stages: Mapping[str, Stage]
    keys: Mapping[str, str]
    places: Mapping[str, str]
    run: Path
    cache: Path
    store: StageStore | None

    def write(self, name: str, attempt: int) -> Path:
        return write_order(
            self.stages[name],
            self.keys[name],
            self.run,
            self.cache,
            store=self.store.folder if self.store else None,
            layout=self.places[name],
            attempt=attempt,
        )

    def is_done(self, name: str) -> bool:
        return is_done(self.run, name, self.keys[name])


@dataclass(slots=True)
class _Running:
    """A stage that is worked on.

    Attributes:
        job: the attempt.
        follower: of its progress.
        attempt: from 1.
        ended: when the attempt was seen to be over, in seconds of the clock, or None.
    """

    job: Job
    follower: Follower
    attempt: int
    ended: float | None = None


class _Dispatch:
    """The state of one run: hands out orders, follows them, and gives those of lost workers out again."""

    def __init__(self, orders: _Orders, executor: Executor, retries: int, progress: Progress) -> None:
        self.orders = orders
        self.executor = executor
        self.retries = retries
        self.progress = progress
        self.running: dict[str, _Running] = {}

    def run(self, waiting: list[str], done: set[str]) -> None:
        """Keep the executor busy until nothing waits. Raises as `run_stages` does."""
        while waiting or self.running:
            ready = [name for name in waiting if self.orders.stages[name].before() <= done]
            for name in ready[: self.executor.slots - len(self.running)]:
                waiting.remove(name)
                self.progress.begin(name)
                self._start(name, attempt=1)
            time.sleep(LOOK_EVERY)
            for name in list(self.running):
                if self._look(name):
                    done.add(name)

    def _start(self, name: str, attempt: int) -> None:
        path = self.orders.write(name, attempt)
        job = self.executor.start(path, self.orders.stages[name])
        self.running[name] = _Running(job, Follower(self.orders.run, name), attempt)

    def _look(self, name: str) -> bool:
        """Pass on a stage's progress; return whether it is finished. Raises what made it fail."""
        running = self.running[name]
        over = running.job.ended()
        for update in running.follower.news():
            self.progress.update(name, *update)
        if not over:
            return False
        if self.orders.is_done(name):
            del self.running[name]
            self.progress.end(name, _seconds(self.orders.run, name))
            return True
        error = failure(self.orders.run, name)
        if error is not None:
            raise error
        running.ended = running.ended or time.monotonic()
        # On another machine its last words may have been written, and not be seen here yet.
        if time.monotonic() - running.ended >= self.executor.settle:
            self._lost(name, running)
        return False

    def _lost(self, name: str, running: _Running) -> None:
        """Begin a stage again whose worker is gone. Raises `RunError` where that happened too often."""
        told = running.job.told()
        note(self.orders.run, name, f"lost: {told}", running.attempt)
        if running.attempt > self.retries:
            raise RunError(
                f"{told}; attempt {running.attempt} of {self.retries + 1}",
                where=name,
                remedy="Start the same command again; with workers: 1 the study needs less memory.",
            )
        self.progress.again(name, told)
        self._start(name, running.attempt + 1)


def _seconds(run: Path, name: str) -> float:
    return float(read_json(stage_folder(run, name) / STAMP)["seconds"])
