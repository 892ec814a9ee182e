"""What tables show and in which order: figures, backbones, methods and the controls among them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from medpref.evaluation.metrics import is_legacy, is_share

CONTINUED = "sft-continued"
START = "sft"
BASE = "base"
BASELINE = "baseline:"
NO_BACKBONE = "none"

Row = Mapping[str, Any]


class Role(Enum):
    """What a row is in a comparison."""

    CONTROL = "control"
    METHOD = "method"
    BASELINE = "baseline"


class Headline(NamedTuple):
    """A figure that methods are compared by."""

    task: str
    metric: str
    slice: str


@dataclass(frozen=True, slots=True)
class Layout:
    """What tables show and in which order.

    Attributes:
        headline: the figures.
        backbones: the backbones.
        methods: all methods, the controls first.
        controls: the methods that the others are compared with.
    """

    headline: tuple[Headline, ...]
    backbones: tuple[str, ...]
    methods: tuple[str, ...]
    controls: tuple[str, ...]

    @property
    def main_control(self) -> str | None:
        """The control that counts: SFT continued, otherwise the last one."""
        if CONTINUED in self.controls:
            return CONTINUED
        return self.controls[-1] if self.controls else None

    def role(self, method: str) -> Role:
        """Return what `method` is."""
        if method.startswith(BASELINE):
            return Role.BASELINE
        # What methods start from is never a contender, whether or not the study calls it a control.
        return Role.CONTROL if method in (BASE, START, *self.controls) else Role.METHOD


def make_layout(results: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> Layout:
    """Return what to show: as the study orders it where run.json is there, else as far as results tell."""
    about = about or {}
    study = about.get("study") or {}
    found = _names(results["rows"], "method")
    compared = _names(results["comparisons"], "control")
    # Without the study the order of controls is lost; only that SFT comes before what continues it is known.
    known = sorted(compared, key=lambda name: (name != START, name == CONTINUED, name))
    controls = [name for name in study.get("controls") or known if name in found]
    first = [name for name in (BASE, START, *controls) if name in found]
    methods = _in_order(found, [*first, *(study.get("methods") or {})])
    backbones = [spec["name"] for spec in study.get("backbones") or ()]
    return Layout(
        headline=_headline(results, about),
        backbones=tuple(
            name for name in _in_order(_names(results["rows"], "backbone"), backbones) if name != NO_BACKBONE
        ),
        methods=tuple(name for name in methods if not name.startswith(BASELINE)),
        controls=tuple(controls),
    )


def _headline(results: Mapping[str, Any], about: Mapping[str, Any]) -> tuple[Headline, ...]:
    named = [Headline(*figure) for figure in about.get("headline") or ()]
    there = dict.fromkeys(figure_of(row) for row in results["rows"])
    if not named:
        named = list(dict.fromkeys(figure_of(row) for row in results["comparisons"]))
    if not named:
        # A study of the starting point alone compares nothing: its overall scores have to do.
        named = [figure for figure in there if figure.slice == "all" and not _is_aside(figure.metric)]
    # Tables of scores speak in per cent and points: what is no share stands among the other scores.
    return tuple(figure for figure in named if figure in there and is_share(figure.metric))


def _is_aside(metric: str) -> bool:
    return metric == "unparsed" or is_legacy(metric) or metric.startswith("likelihood_")


def figure_of(row: Row) -> Headline:
    """Return the figure that a row of results is about."""
    return Headline(row["task"], row["metric"], row["slice"])


def _names(rows: Iterable[Row], field: str) -> list[str]:
    return list(dict.fromkeys(row[field] for row in rows))


def _in_order(found: Sequence[str], wanted: Sequence[str]) -> list[str]:
    first = [name for name in dict.fromkeys(wanted) if name in found]
    return first + [name for name in found if name not in first]
