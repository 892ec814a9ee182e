"""The same patient with one fact changed: what would be true, and what the image would show."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from medpref.phantoms.facts import (
    COUNTS,
    INTENSITIES,
    SIDED_PLANES,
    SIDES,
    SIZES,
    UPRIGHT_PLANES,
    VERTICALS,
    Facts,
)
from medpref.phantoms.questions import NUMERALS

LESION_FACTS: Mapping[str, tuple[Any, ...]] = {
    "side": SIDES,
    "vertical": VERTICALS,
    "count": COUNTS,
    "size": SIZES,
    "intensity": INTENSITIES,
}
"""The facts of a lesion that can be changed without changing another, and their values."""


def counterfactuals(facts: Facts, imagined: Facts) -> Iterator[tuple[str, str, Facts]]:
    """Yield (kind, answer, facts) for each wrong answer to a visual question: the facts that make it right.

    Args:
        facts: what is true.
        imagined: the lesions that appear where there are none; only their attributes are used.
    """
    if facts.count == 0:
        yield "presence", "yes", _with_lesions(facts, imagined)
        return
    yield "presence", "no", replace(facts, count=0, size=None, side=None, vertical=None, intensity=None)
    for kind, values in LESION_FACTS.items():
        own = getattr(facts, kind)
        for value in values:
            if own is not None and value != own:
                yield kind, NUMERALS[value] if kind == "count" else value, replace(facts, **{kind: value})


def _with_lesions(facts: Facts, imagined: Facts) -> Facts:
    return replace(
        facts,
        count=imagined.count,
        size=imagined.size,
        side=imagined.side if facts.plane in SIDED_PLANES else None,
        vertical=imagined.vertical if facts.plane in UPRIGHT_PLANES else None,
        intensity=imagined.intensity,
    )
