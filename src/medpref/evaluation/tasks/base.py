"""What a task is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from medpref.pairs.sample import Sample
from medpref.registry import Registry


class Scored(NamedTuple):
    """The scores of one answer by metric, or why there are none."""

    scores: dict[str, float]
    unscored: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked, how it is decoded and how it is scored.

    Attributes:
        name: as in a study.
        version: changes whenever prompts, rows, decoding or scores change.
        summary: one line for listings.
        score: scores one answer.
        headline: the (metric, slice) that methods are compared by, the most important first.
        max_new_tokens: the longest answer.
        slices: named sets of question kinds that are reported beside the single kinds.
    """

    name: str
    version: int
    summary: str
    score: Callable[[Sample, str], Scored]
    headline: tuple[tuple[str, str], ...]
    max_new_tokens: int = 32
    slices: Mapping[str, frozenset[str]] = field(default_factory=dict)


tasks: Registry[Task] = Registry("task")
