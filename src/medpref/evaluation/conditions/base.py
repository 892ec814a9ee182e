"""What a condition is: a way to show a task's samples that tells whether the model looks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medpref.pairs.sample import Sample
from medpref.registry import Registry


@dataclass(frozen=True, slots=True)
class ConditionContext:
    """What a condition may use besides the samples.

    Attributes:
        folder: where drawn images go; equal contexts and samples give the same files.
        seed: of everything that is drawn.
        workers: how many processes may draw.
    """

    folder: Path
    seed: int = 0
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Condition:
    """One way to show a task's samples.

    Attributes:
        summary: one line for listings.
        show: ``show(samples, context)`` returns the samples as they are asked: with other images, another
            prompt or another right answer, under their own ids. Those to which the condition does not apply
            are left out; the result does not depend on the order of the samples.
        blank: whether the model shows itself a uniform image instead, in its own pixels.
        control: the condition whose scores these are subtracted from; None for the control itself.
    """

    summary: str
    show: Callable[[Sequence[Sample], ConditionContext], list[Sample]]
    blank: bool = False
    control: str | None = "normal"


conditions: Registry[Condition] = Registry("condition")
