"""A study's plan in the terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from medpref.study.dry.costs import StagePlan, StudyPlan

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


def print_plan(plan: StudyPlan, console: Console) -> None:
    """Print what each step and each run of a study costs, for one backbone after the other.

    Args:
        plan: the plan.
        console: where to; without a terminal the tables are plain text.
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
    legend = (
        "unshared: tokens if each response stood in a row of its own. new: images that the tower is run on "
        "where its features are kept; FLOPs count these. training: gradients and the optimizer's means. "
        "reference, likelihood: a step is a forward pass; answers: a batch, its pairs are questions, and "
        "answers are taken to be as long as the references."
    )
    for line in (legend, *plan.notes):
        console.print(Text(line, style="dim"))


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
