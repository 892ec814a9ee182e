"""Reliability plots: the share of yes in each bin of questions against the probability of yes."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from medpref.report.svg import Element, Scale, circle, drawing, label, line
from medpref.report.tables import Score
from medpref.report.wording import interval, percent

_WIDTH, _HEIGHT = 300.0, 268.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 30.0, 292.0, 18.0, 206.0
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_LEADER = (20.0, 32.0)
"""Where the leader from a bin to its count begins and ends, below the plot."""
_APART = 24.0
"""The least distance of two counts."""


class Bin(NamedTuple):
    """Questions of about the same probability of yes.

    Attributes:
        low, high, mean: the least, the greatest and the mean probability of yes.
        share: how many have yes as the right answer, of n questions.
    """

    low: float
    high: float
    mean: float
    share: Score


def reliability_plot(method: str, bins: Sequence[Bin]) -> Markup:
    """Return a plot with a disc for each bin, its interval upright, its range of probabilities level.

    Right probabilities lie on the dashed diagonal. The bins' counts stand below.
    """
    across = Scale(0.0, 1.0, _LEFT, _RIGHT)
    up = Scale(0.0, 1.0, _BOTTOM, _TOP)
    parts = [
        *_grid(across, up),
        line((across(0.0), up(0.0)), (across(1.0), up(1.0)), "reference"),
        *(element for each in bins for element in _mark(each, across, up)),
        *_counts(bins, across),
    ]
    said = "; ".join(
        f"yes expected in {percent(b.mean)} %, right in {percent(b.share.value)} % "
        f"{interval(b.share.low, b.share.high)} of {b.share.n}"
        for b in bins
    )
    return drawing(_WIDTH, _HEIGHT, parts, label=f"Reliability of {method}: {said}", class_="panel")


def _grid(across: Scale, up: Scale) -> Iterator[Element]:
    for value in _TICKS:
        yield line((across(value), up(0.0)), (across(value), up(1.0)), "grid")
        yield line((across(0.0), up(value)), (across(1.0), up(value)), "grid")
        yield label((across(value), up(0.0) + 13), f"{100 * value:g}", "tick", "middle")
        yield label((across(0.0) - 5, up(value) + 4), f"{100 * value:g}", "tick", "end")
    yield label((_LEFT, _TOP - 7), "right answer is yes, %", "tick")
    yield label((_RIGHT, _HEIGHT - 2), "probability of yes, %", "tick", "end")


def _mark(each: Bin, across: Scale, up: Scale) -> Iterator[Element]:
    share = each.share
    if share.value is None:
        return
    x, y = across(each.mean), up(share.value)
    yield line((across(each.low), y), (across(each.high), y), "span bar")
    if share.low is not None and share.high is not None:
        yield line((x, up(share.low)), (x, up(share.high)), "span method")
    yield circle((x, y), "mark method", 3.5)


def _counts(bins: Sequence[Bin], across: Scale) -> Iterator[Element]:
    """Yield the bins' counts side by side, each with a line to where its bin lies."""
    wanted = [across(each.mean) for each in bins]
    for each, x, place in zip(bins, wanted, apart(wanted, _APART, _LEFT, _RIGHT), strict=True):
        yield line((x, _BOTTOM + _LEADER[0] - 3), (place, _BOTTOM + _LEADER[1]), "grid")
        yield label((place, _BOTTOM + _LEADER[1] + 10), f"{each.share.n}", "tick", "middle")
    yield label((_LEFT - 14, _BOTTOM + _LEADER[1] + 10), "n", "tick", "end")


def apart(wanted: Sequence[float], distance: float, low: float, high: float) -> list[float]:
    """Return places near `wanted`, which ascend, at least `distance` apart and within [low, high].

    Where there is no room for that they are as far apart as there is.
    """
    if len(wanted) > 1:
        distance = min(distance, (high - low) / (len(wanted) - 1))
    found: list[float] = []
    for place in wanted:
        found.append(max(place, low, found[-1] + distance if found else low))
    limit = high
    for number in reversed(range(len(found))):
        found[number] = min(found[number], limit)
        limit = found[number] - distance
    return found
