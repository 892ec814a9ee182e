"""The tables that are printed, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def markdown(columns: Mapping[str, str], rows: Sequence[Row]) -> str:
    """Return a table.

    Args:
        columns: for each heading, the key that its column shows.
        rows: values by key; what a row does not have shows as a dash.
    """
    cells = [[_text(row.get(key)) for key in columns.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    lines = [list(columns), ["-" * width for width in widths], *cells]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.2f}"
    return str(value)


STEPS = {
    "variant": "variant",
    "seconds": "seconds",
    "least": "seconds_min",
    "most": "seconds_max",
    "speedup": "speedup",
    "memory MB": "memory_mb",
    "memory ratio": "memory_ratio",
    "loss differs by": "loss_difference",
    "gradient differs by": "gradient_difference",
    "": "verdict",
}
RUNS = {
    "objective": "objective",
    "data": "shape",
    "training": "training",
    "pairs": "pairs",
    "epochs": "epochs",
    "against": "against",
    "its seconds": "rival_seconds",
    "seconds": "seconds",
    "of them caches": "caches_seconds",
    "speedup": "speedup",
}
FLOPS = {
    "objective": "objective",
    "training": "training",
    "response tokens": "response_tokens",
    "a later step": "steady",
    "one epoch": "one_epoch",
    "three epochs": "three_epochs",
}
