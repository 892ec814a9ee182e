"""Drawings of the page about pairs: lengths of both responses, and the leak with its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from medpref.pairs.leaks import CHANCE, Leak
from medpref.pairs.pair import Pair, ResponseRole
from medpref.report.svg import Element, Scale, circle, drawing, label, line, node, ticks

_WIDTH, _HEIGHT = 480.0, 190.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 476.0, 8.0, 150.0
_LEAK = (480.0, 56.0)
_LOWEST = 0.4
_MOST_LABELS = 6
"""On a phone more ranges would stand in each other's way."""
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long responses are, in words.

    Attributes:
        drawing: a bar for each range of lengths and role.
        quantiles: for each role the 5, 25, 50, 75 and 95 % quantiles.
    """

    drawing: Markup
    quantiles: Mapping[str, tuple[float, ...]]


def length_figure(pairs: Sequence[Pair]) -> Lengths | None:
    """Return how long both responses are; None where no pair has both."""
    whole = [pair for pair in pairs if len(pair.responses) == len(ResponseRole)]
    if not whole:
        return None
    words = {role: [len(pair.responses[role].split()) for pair in whole] for role in ResponseRole}
    edges = _edges(max(max(counts) for counts in words.values()))
    shares = {
        role: [float(share) for share in np.histogram(counts, [*edges, np.inf])[0] / len(whole)]
        for role, counts in words.items()
    }
    quantiles = {str(role): tuple(np.quantile(counts, _QUANTILES).tolist()) for role, counts in words.items()}
    said = "; ".join(f"{role}: median {found[2]:g} words" for role, found in quantiles.items())
    parts = _bars(edges, shares)
    return Lengths(drawing(_WIDTH, _HEIGHT, parts, label=f"Lengths. {said}", class_="lengths"), quantiles)


def _edges(longest: int) -> list[int]:
    """Return the first length of each range; each range is twice as wide as the one before it."""
    edges = [0, 2, 3]
    while edges[-1] * 2 - 1 <= longest:
        edges.append(edges[-1] * 2 - 1)
    return edges


def _bars(edges: Sequence[int], shares: Mapping[ResponseRole, Sequence[float]]) -> list[Element]:
    top = max(max(values) for values in shares.values())
    height = Scale(0.0, top, _BOTTOM, _TOP)
    step = (_RIGHT - _LEFT) / len(edges)
    parts: list[Element] = []
    for value in ticks(0.0, top, 4):
        parts.append(line((_LEFT, height(value)), (_RIGHT, height(value)), "grid"))
        parts.append(label((_LEFT - 6, height(value) + 4), f"{100 * value:g} %", "tick", "end"))
    width = step * 0.38
    every = 1 if len(edges) <= _MOST_LABELS else 2
    for number, _ in enumerate(edges):
        for place, role in enumerate(ResponseRole):
            x = _LEFT + step * (number + 0.1) + place * (width + step * 0.04)
            y = height(shares[role][number])
            parts.append(node("rect", x=x, y=y, width=width, height=_BOTTOM - y, class_=f"bar {role}"))
        middle = _LEFT + step * (number + 0.5)
        # The last range is open and always has its label.
        if (len(edges) - 1 - number) % every == 0:
            parts.append(label((middle, _BOTTOM + 14), _range(edges, number), "tick", "middle"))
    parts.append(label(((_LEFT + _RIGHT) / 2, _BOTTOM + 34), "words", "tick", "middle"))
    return parts


def _range(edges: Sequence[int], number: int) -> str:
    low = max(1, edges[number])
    if number + 1 == len(edges):
        return f"{low}+"
    high = edges[number + 1] - 1
    return f"{low}" if low == high else f"{low}–{high}"


def leak_figure(leak: Leak) -> Markup:
    """Return the AUC with its interval on a scale that has chance on it."""
    scale = Scale(_LOWEST, 1.0, 8.0, _LEAK[0] - 12.0)
    y = 14.0
    parts = [
        line((scale(CHANCE), 0.0), (scale(CHANCE), 32.0), "reference"),
        label((scale(CHANCE), 47.0), "chance", "tick", "middle"),
    ]
    # The labels of nearer ticks would stand in that of chance.
    for value in (tick for tick in ticks(_LOWEST, 1.0, 6) if abs(tick - CHANCE) > 0.09):
        parts.append(line((scale(value), 0.0), (scale(value), 32.0), "grid"))
        parts.append(label((scale(value), 47.0), f"{value:g}", "tick", "middle"))
    parts.append(line((scale(leak.low), y), (scale(leak.high), y), "span"))
    parts.append(circle((scale(leak.auc), y), "mark"))
    text = f"AUC {leak.auc:.3f}, 95 % interval {leak.low:.3f} to {leak.high:.3f}, chance is 0.5"
    return drawing(*_LEAK, parts, label=text, class_="leak")
