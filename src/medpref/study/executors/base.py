"""What an executor is: where the stages of a run are worked on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from medpref.registry import Registry
from medpref.study.stage import Stage


class ExecutorSettings(BaseModel):
    """What every executor can be told.

    Attributes:
        retries: how often a stage begins again, elsewhere, whose worker was lost. A stage that fails of
            itself would fail again, and is not repeated.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    retries: int = Field(2, ge=0)


class ClusterSettings(ExecutorSettings):
    """What executors on several machines can be told.

    Attributes:
        jobs: the most stages at a time.
        options: what each job asks for, in the words of the system beneath.
        by_work: what jobs of one kind of work ask for beside or instead: ``train``, ``evaluate``, …
        settle: seconds until a file that was written on one machine is surely seen on another.
    """

    jobs: int = Field(16, ge=1)
    options: dict[str, Any] = {}
    by_work: dict[str, dict[str, Any]] = {}
    settle: float = Field(15.0, ge=0)

    def options_of(self, stage: Stage) -> dict[str, Any]:
        """Return what a stage's job asks for."""
        return {**self.options, **self.by_work.get(stage.work, {})}


class Job(Protocol):
    """One attempt at a stage."""

    def ended(self) -> bool:
        """Tell whether the attempt is over, in whatever way."""

    def told(self) -> str:
        """Say in a few words how it ended, for people."""


class Executor(Protocol):
    """Runs orders.

    Attributes:
        slots: how many at a time.
        settle: seconds until what a worker wrote is surely seen here.
    """

    slots: int
    settle: float

    def start(self, order: Path, stage: Stage) -> Job:
        """Begin to run an order of `medpref.study.job`."""

    def stop(self) -> None:
        """End all that runs."""


@dataclass(frozen=True, slots=True)
class ExecutorKind:
    """A way to run stages.

    Attributes:
        summary: one line for listings.
        settings: what a study may say of it.
        make: ``make(settings, run, workers)`` returns the executor; `workers` is the study's.
    """

    summary: str
    settings: type[ExecutorSettings]
    make: Callable[[Any, Path, int], Executor]


executors: Registry[ExecutorKind] = Registry("executor")
