"""Jobs of SLURM, by way of submitit."""

from pathlib import Path
from typing import Any, Literal

from medpref.errors import InputError
from medpref.study.executors.base import ClusterSettings, ExecutorKind, executors
from medpref.study.job import JOBS
from medpref.study.stage import Stage


class SlurmSettings(ClusterSettings):
    """How jobs are submitted.

    Attributes:
        cluster: ``slurm``; or ``local``, where submitit's own processes on this machine stand in for it.
        options: submitit's parameters, such as ``slurm_partition``, ``timeout_min``, ``mem_gb``,
            ``gpus_per_node``, ``cpus_per_task``.
    """

    cluster: Literal["slurm", "local"] = "slurm"


class _SlurmJob:
    """One job."""

    def __init__(self, job: Any) -> None:
        self._job = job

    def ended(self) -> bool:
        return bool(self._job.done())

    def told(self) -> str:
        return f"job {self._job.job_id} ended as {self._job.state}; see {self._job.paths.stderr}"


class SlurmExecutor:
    """Submits each order as a job; the run's folder has to be seen by all nodes under the same path."""

    def __init__(self, settings: SlurmSettings, run: Path) -> None:
        try:
            import submitit
        except ImportError:
            raise InputError(
                "jobs for SLURM need the package submitit", remedy="pip install 'medpref[slurm]'"
            ) from None
        self._submitit = submitit
        self._settings = settings
        self._folder = run / JOBS / "submitted"
        self._jobs: list[Any] = []
        self.slots = settings.jobs
        self.settle = settings.settle
        # Tells at once, and not with the first job, where there is no SLURM.
        try:
            self._executor()
        except RuntimeError as error:
            raise InputError(f"jobs cannot be submitted: {error}", where="executor") from None

    def _executor(self) -> Any:
        return self._submitit.AutoExecutor(folder=self._folder, cluster=self._settings.cluster)

    def start(self, order: Path, stage: Stage) -> _SlurmJob:
        """Submit an order. Raises `InputError` where submitit does not know an option."""
        from medpref.study.worker import run_order

        executor = self._executor()
        try:
            executor.update_parameters(
                name=f"medpref-{stage.name.replace('/', '-')}", **self._settings.options_of(stage)
            )
        except (NameError, TypeError) as error:
            raise InputError(f"submitit refuses an option: {error}", where="executor.options") from None
        job = executor.submit(run_order, str(order))
        self._jobs.append(job)
        return _SlurmJob(job)

    def stop(self) -> None:
        """Cancel what runs."""
        for job in self._jobs:
            if not job.done():
                job.cancel(check=False)


executors.add(
    "slurm",
    ExecutorKind(
        "jobs of SLURM, by submitit", SlurmSettings, lambda settings, run, _: SlurmExecutor(settings, run)
    ),
)
