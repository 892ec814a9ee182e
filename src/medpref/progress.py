"""Progress that people see: bars with the time left on a terminal, one plain line a stage elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text


class RateColumn(ProgressColumn):
    """How many are done in a second, as far as that is known."""

    def render(self, task: Task) -> Text:
        """Return the rate of a task, or nothing."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.3g}/s" if speed else "", style="progress.data.speed")


class Progress:
    """Shows the stages of a run.

    Args:
        console: where to; bars are drawn only if it is a terminal.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            RateColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._all: TaskID | None = None
        self._started = time.monotonic()
        self._done = 0
        self._total = 0

    def __enter__(self) -> "Progress":
        """Begin to draw."""
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        self._bars.stop()

    def start(self, total: int, done: int) -> None:
        """Tell how many stages there are, and how many an earlier run has finished."""
        self._total, self._done = total, done
        self._all = self._bars.add_task("[bold]stages", total=total, completed=done)
        if done:
            self.console.print(f"{done} of {total} stages are done already.")

    def begin(self, stage: str) -> None:
        """A stage has begun."""
        self._tasks[stage] = self._bars.add_task(stage, total=None)

    def again(self, stage: str, reason: str) -> None:
        """A stage lost its worker and begins again."""
        task = self._tasks.get(stage)
        if task is not None:
            self._bars.reset(task, total=None)
        self.console.print(f"{stage} begins again: {reason}", markup=False)

    def update(self, stage: str, total: int | None, amount: int) -> None:
        """A stage has done `amount` more of its work, or found out the `total`."""
        task = self._tasks.get(stage)
        if task is None:
            return
        if total is not None:
            self._bars.update(task, total=total)
        if amount:
            self._bars.advance(task, amount)

    def end(self, stage: str, seconds: float) -> None:
        """A stage is finished."""
        task = self._tasks.pop(stage, None)
        if task is not None:
            self._bars.remove_task(task)
        self._done += 1
        if self._all is not None:
            self._bars.update(self._all, completed=self._done)
        elapsed = time.monotonic() - self._started
        self.console.print(
            f"[{elapsed:6.1f} s] {self._done:3d}/{self._total} {stage} ({seconds:.1f} s)", markup=False
        )
