"""Work on many files in several processes; the results do not depend on how many there are."""

import multiprocessing as mp
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from medpref.errors import RunError

Job = TypeVar("Job")
Result = TypeVar("Result")

LEAST = 64
"""Fewer jobs than this are done here: a new process takes longer to start than they take."""


def work_through(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int, *, least: int = LEAST
) -> Iterator[Result]:
    """Yield the result of each job, in the order of the jobs.

    Processes are spawned, not forked, so that threads and accelerators of this one do no harm; a script that
    asks for more than one worker keeps its own work below ``if __name__ == "__main__":``. The first error
    stops everything and is raised here.

    Args:
        work: a function of a module, and jobs that can be sent to another process.
        jobs: what it is called with.
        workers: how many processes; with one, everything is done in this one.
        least: how many jobs are worth more than one process.

    Raises:
        RunError: a worker process was killed.
    """
    if workers <= 1 or len(jobs) < least:
        yield from map(work, jobs)
        return
    context = mp.get_context("spawn")
    # Some jobs at a time, so that the processes do not wait for each other's next one.
    chunk = max(1, min(32, len(jobs) // (4 * workers)))
    executor = ProcessPoolExecutor(workers, context, _ignore_interrupts)
    try:
        yield from executor.map(work, jobs, chunksize=chunk)
    except BrokenProcessPool as error:
        raise RunError(
            "a worker process was killed, perhaps for lack of memory",
            remedy="Start the same command again: finished files are kept. Fewer workers need less memory.",
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupts() -> None:
    # Ctrl-C reaches the whole group; the main process decides what becomes of the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
