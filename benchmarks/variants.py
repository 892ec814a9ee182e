"""Which variants an objective is timed in, by name; the others are held against the first."""

from collections.abc import Callable, Mapping
from functools import cached_property

from benchmarks.bench import Bench, Variant
from benchmarks.ours import LADDER, OURS, Ours, OurSide
from benchmarks.rival_study import Study, StudySide
from benchmarks.rival_trl import Trl, TrlSide
from medpref.scoring.cells import Cell

TRL, TRL_LABELS, STUDY, STUDY_TWICE = (
    "TRL",
    "TRL, label-only head",
    "study's scheme",
    "study's scheme, 4+4 rows",
)
# The official mDPO scores the responses' pair of rows and the images' pair of rows in two calls.
MDPO_CALLS = (
    (Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED),
    (Cell.CLEAN_CHOSEN, Cell.REJECTED_CHOSEN),
)


class Variants:
    """Makes variants of one comparison; those of one side share its model and optimizer.

    Args:
        bench: the comparison.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        rivals: dict[str, Callable[[], Variant]] = {
            TRL_LABELS: lambda: Trl(self._trl, label_only=True),
            TRL: lambda: Trl(self._trl, label_only=False),
            STUDY: lambda: Study(self._study, [bench.objective.cells], STUDY),
            STUDY_TWICE: lambda: Study(self._study, MDPO_CALLS, STUDY_TWICE),
        }
        self._makers: Mapping[str, Callable[[], Variant]] = rivals | {
            name: lambda name=name: Ours(self._ours, LADDER[name], name) for name in LADDER
        }

    def make(self, name: str, *, prepared: bool = True) -> Variant:
        """Make the variant called `name`, and prepare it for the comparison's batches."""
        variant = self._makers[name]()
        if prepared:
            variant.prepare(self.bench.batches)
        return variant

    @cached_property
    def _trl(self) -> TrlSide:
        return TrlSide(self.bench)

    @cached_property
    def _study(self) -> StudySide:
        return StudySide(self.bench)

    @cached_property
    def _ours(self) -> OurSide:
        return OurSide(self.bench)


def rivals(objective: str) -> list[str]:
    """Return the rivals' names for an objective, the one to beat first."""
    known = {"dpo": [TRL_LABELS, TRL, STUDY], "mdpo": [STUDY, STUDY_TWICE]}
    return known.get(objective, [STUDY])


def names(objective: str, *, ablation: bool) -> list[str]:
    """Return the names of all variants of an objective.

    Args:
        objective: the loss.
        ablation: with every step between nothing and all savings, not the last alone.
    """
    return [*rivals(objective), *(LADDER if ablation else [OURS])]
