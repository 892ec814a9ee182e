"""What commands that work for a while have in common: one writer at a time, and a bar."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from medpref.errors import RunError


@contextmanager
def only_writer(target: Path, noun: str) -> Iterator[None]:
    """Keep other processes from writing what belongs to `target` meanwhile; its folder is made.

    Args:
        target: a file, or a folder.
        noun: what is written there, for the message.

    Raises:
        RunError: another process writes there, or the folder cannot be made.
    """
    from filelock import FileLock, Timeout

    from medpref.files import disk_errors

    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"another process writes these {noun}", where=str(target)) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def one_bar(console: Console, name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar for `total` pieces of work; what is yielded is called with the number of those done."""
    from medpref.progress import Progress

    started = time.monotonic()
    with Progress(console) as progress:
        progress.start(1, 0)
        progress.begin(name)
        progress.update(name, total, 0)
        yield lambda amount: progress.update(name, None, amount)
        progress.end(name, time.monotonic() - started)
