"""What a metric of reports is."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from medpref.registry import Registry


class Unscored(NamedTuple):
    """A report without a score: counted, never a zero.

    Attributes:
        reason: why there is none, in one line.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that another package computes.

    Attributes:
        summary: one line for listings.
        package: the package as it is imported.
        distribution: the package as it is installed.
        extra: medpref's extra that brings it along.
        models: what it downloads at first use, for people; empty for nothing.
        scorer: a Python file that needs nothing of medpref. Its ``load(batch)`` returns a function from
            answers and references, two lists of strings in step, to a list of as many numbers in [0, 1], or
            reasons (strings) where there is none.
        batch: how many reports it gets at a time.
    """

    summary: str
    package: str
    distribution: str
    extra: str
    models: str
    scorer: Path
    batch: int = 16


metrics: Registry[Metric] = Registry("report metric")
