"""Tasks of a Ray cluster, or of Ray on this machine alone."""

import os
from pathlib import Path
from typing import Any

from pydantic import Field

from medpref.errors import InputError, RunError
from medpref.study.executors.base import ClusterSettings, ExecutorKind, executors
from medpref.study.stage import Stage


class RaySettings(ClusterSettings):
    """Which cluster, and what tasks ask for.

    Attributes:
        address: of the cluster, as ``ray.init`` takes it; without it Ray is started on this machine.
        options: of a task, such as ``num_cpus``, ``num_gpus``, ``resources``; one CPU if nothing is said.
        init: what else ``ray.init`` is told.
    """

    address: str | None = None
    init: dict[str, Any] = Field({})


class _RayJob:
    """One task."""

    def __init__(self, ray: Any, task: Any) -> None:
        self._ray, self._task = ray, task

    def ended(self) -> bool:
        ready, _ = self._ray.wait([self._task], timeout=0)
        return bool(ready)

    def told(self) -> str:
        try:
            self._ray.get(self._task)
        except Exception as error:
            return f"Ray says: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        return "the task ended without a word"


class RayExecutor:
    """Hands each order to Ray as a task; the run's folder has to be seen by all nodes under the same path."""

    def __init__(self, settings: RaySettings) -> None:
        # Ray tells its makers of each use unless it is forbidden before it starts.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        try:
            import ray
        except ImportError:
            raise InputError(
                "tasks for Ray need the package ray", remedy="pip install 'medpref[ray]'"
            ) from None
        self._ray = ray
        self._settings = settings
        self._tasks: list[Any] = []
        self.slots = settings.jobs
        self.settle = settings.settle
        alone: dict[str, Any] = {} if settings.address else {"include_dashboard": False}
        try:
            ray.init(address=settings.address or "local", log_to_driver=False, **{**alone, **settings.init})
        except (ConnectionError, RuntimeError, ValueError, TypeError) as error:
            raise RunError(f"Ray does not start: {error}", where=settings.address) from None

    def start(self, order: Path, stage: Stage) -> _RayJob:
        """Begin a task. Raises `InputError` where Ray does not know an option."""
        from medpref.study.worker import run_order

        options = {"num_cpus": 1, **self._settings.options_of(stage)}
        try:
            # Ray would hide a lost worker; it is the run that counts attempts.
            task = self._ray.remote(run_order).options(max_retries=0, name=stage.name, **options)
        except (ValueError, TypeError) as error:
            raise InputError(f"Ray refuses an option: {error}", where="executor.options") from None
        reference = task.remote(str(order))
        self._tasks.append(reference)
        return _RayJob(self._ray, reference)

    def stop(self) -> None:
        """End all tasks, and leave the cluster."""
        for task in self._tasks:
            self._ray.cancel(task, force=True)
        self._ray.shutdown()


executors.add(
    "ray",
    ExecutorKind(
        "tasks of a Ray cluster, or of Ray on this machine",
        RaySettings,
        lambda settings, run, _: RayExecutor(settings),
    ),
)
