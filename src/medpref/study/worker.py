"""What a job on another machine runs."""

from pathlib import Path


def run_order(order: str) -> None:
    """Run an order of `medpref.study.job` in a process that was started for it."""
    from medpref.study.execute import prepare_process
    from medpref.study.job import work

    prepare_process()
    work(Path(order))
