"""A study's plan in the terminal."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from medpref.study.dry.costs import StagePlan, StudyPlan
from medpref.study.dry.missing import Missing
from medpref.study.dry.resources import UTILISATION, gpu_hours

PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")


def short(value: float) -> str:
    """Return a number with three digits and a decimal prefix, such as ``12.3M``."""
    size = 0
    while value >= 999.5 and size < len(PREFIXES) - 1:
        value, size = value / 1000, size + 1
    if size == 0:
        return f"{value:.3g}"
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f}{PREFIXES[size]}"


def print_plan(plan: StudyPlan, console: Console, gpu: str | None = None, share: float = UTILISATION) -> None:
    """Print what each step and each run of a study costs, for one backbone after the other.

    Args:
        plan: the plan.
        console: where to; without a terminal the tables are plain text.
        gpu: the GPU whose hours are told.
        share: of its peak that it reaches.
    """
    for backbone in dict.fromkeys(stage.backbone for stage in plan.stages):
        stages = [stage for stage in plan.stages if stage.backbone == backbone]
        console.print(Text(f"{plan.study} / {backbone}, means for a step", style="bold"))
        console.print(_steps(stages))
        console.print(Text(f"\n{plan.study} / {backbone}, peak memory in bytes, and runs", style="bold"))
        console.print(_runs(stages))
        console.print()
    totals = plan.to_json()["totals"]
    console.print(
        f"In all: {totals['steps']:,} steps, {short(totals['tokens'])} tokens trained on, "
        f"{short(totals['reference_tokens'])} tokens of reference, "
        f"{short(totals['answer_tokens'])} of test answers, "
        f"{short(totals['likelihood_tokens'])} of likelihoods, {short(totals['flops'])}FLOP.",
        highlight=False,
    )
    for line in _resources(plan, gpu, share):
        console.print(line, highlight=False, markup=False)
    legend = (
        "unshared: tokens if each response stood in a row of its own. new: images that the tower is run on "
        "where its features are kept; FLOPs count these. training: gradients and the optimizer's means. "
        "reference, likelihood: a step is a forward pass; answers: a batch, its pairs are questions, and "
        "answers are taken to be as long as the references."
    )
    for line in (legend, *plan.notes):
        console.print(Text(line, style="dim"))


def _resources(plan: StudyPlan, gpu: str | None, share: float) -> Iterator[str]:
    """Yield lines on disk, GPUs and judges."""
    if plan.disk is not None:
        yield (
            f"Disk: {short(plan.disk.models)}B of models, and up to {short(plan.disk.checkpoints)}B of "
            "checkpoints while trainings run; images, logs and kept features come on top."
        )
    if gpu is not None:
        hours = gpu_hours(plan.total("flops"), gpu, share)
        yield f"GPU: about {hours:,.2g} hours of one {gpu} at {share:.0%} of its peak (an assumption)."
    for judged in plan.judging:
        most = "at most " if judged.at_most else ""
        cost = (
            "no prices are given"
            if judged.cost is None or judged.prices is None
            else (f"about {judged.cost:,.4g} {judged.prices.currency}")
        )
        yield (
            f"Judge, {judged.name}: {most}{judged.requests:,.0f} requests, {short(judged.prompt_tokens)} "
            f"tokens read and {short(judged.written)} written: {cost}."
        )


def print_missing(things: Sequence[Missing], console: Console) -> None:
    """Print what a study needs and is not there."""
    if not things:
        console.print("Nothing is missing: all files, packages and keys that the study names are there.")
        return
    console.print("Missing:")
    for thing in things:
        console.print(f"  {thing.what}  ({thing.wanted})", highlight=False, markup=False)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="underline")
    table.add_column("", overflow="fold", max_width=20)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _steps(stages: list[StagePlan]) -> Table:
    table = _table("pairs", "cells", "rows", "tokens", "unshared", "padding", "images", "new", "FLOPs")
    for stage in stages:
        step = stage.step
        table.add_row(
            stage.name,
            *(short(value) for value in (stage.pairs, step.cells, step.rows, step.tokens, step.unshared)),
            f"{step.padding / step.tokens:.0%}",
            *(short(value) for value in (step.images, stage.cached_images, stage.flops)),
        )
    return table


def _runs(stages: list[StagePlan]) -> Table:
    table = _table("weights", "training", "activations", "peak", "runs", "steps", "tokens", "FLOPs")
    for stage in stages:
        memory, run = stage.memory, stage.run
        state = memory.gradients + memory.optimizer
        table.add_row(
            stage.name,
            *(short(value) for value in (memory.weights, state, memory.activations, memory.total)),
            str(stage.runs),
            f"{stage.steps:,}",
            short(run.tokens),
            short(run.flops),
        )
    return table
