"""What a task is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from medpref.pairs.sample import Sample
from medpref.registry import Registry

CorpusScore = Callable[[Sequence[str], Sequence[str]], float]
"""From the answers and their references, in step, to one figure."""


class Scored(NamedTuple):
    """The scores of one answer by metric, or why there are none."""

    scores: dict[str, float]
    unscored: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked, how it is decoded and how it is scored.

    Prompts, decoding, the split and which rows count are part of the version.

    Attributes:
        name: as in a study.
        version: changes whenever prompts, rows, decoding or scores change.
        summary: one line for listings.
        score: scores one answer.
        headline: the (metric, slice) that methods are compared by, the most important first.
        max_new_tokens: the longest answer.
        slices: named sets of question kinds that are reported beside the single kinds.
        rows: which rows count, for people.
        published: how many these are in the published data set; None where that is the user's own.
        source: the data source that reads the published data set, prompts included.
        reports: whether the answers are reports or captions, which radiology metrics can read.
        corpus: scores of all answers together, by name; each tells the mean over samples nothing.
    """

    name: str
    version: int
    summary: str
    score: Callable[[Sample, str], Scored]
    headline: tuple[tuple[str, str], ...]
    max_new_tokens: int = 32
    slices: Mapping[str, frozenset[str]] = field(default_factory=dict)
    rows: str = "all rows of the test split"
    published: int | None = None
    source: str = "files"
    reports: bool = False
    corpus: Mapping[str, CorpusScore] = field(default_factory=dict)

    @property
    def decoding(self) -> dict[str, Any]:
        """How answers are generated, as logs tell it."""
        return {"strategy": "greedy", "max_new_tokens": self.max_new_tokens}


tasks: Registry[Task] = Registry("task")


def headlines(names: Iterable[str]) -> list[tuple[str, str, str]]:
    """Return the (task, metric, slice) that methods are compared by on some tasks."""
    return [(name, metric, part) for name in names for metric, part in tasks[name].headline]


def named_slices(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the named sets of question kinds of some tasks."""
    return {key: sorted(kinds) for name in names for key, kinds in tasks[name].slices.items()}
