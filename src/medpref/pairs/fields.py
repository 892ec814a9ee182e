"""The fields of a row, each checked for its type."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class RowError(ValueError):
    """A row that cannot become a pair; the message is the reason written to the quarantine file."""


def read_text(value: Any, key: str) -> str:
    """Return a text; integer and Boolean answers occur in published files. Raises `RowError` for others."""
    if isinstance(value, str | int | float):
        return str(value)
    raise RowError(f"{key} must be a text, this is {type(value).__name__}")


def read_optional_text(value: Any, key: str) -> str | None:
    """Return a text, or None for none. Raises `RowError` for what is neither."""
    return None if value is None else read_text(value, key)


def read_id(value: Any, fallback: str) -> str:
    """Return an id as text, or `fallback` for none."""
    return fallback if value is None else str(value)


def read_weight(value: Any) -> float | None:
    """Return a number, or None for none. Raises `RowError` for what is neither."""
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise RowError(f"the weight {value!r} is no number") from None


def read_mapping(value: Any, key: str) -> Mapping[str, Any]:
    """Return a mapping. Raises `RowError` for others."""
    if not isinstance(value, Mapping):
        raise RowError(f"{key} must map roles to values, this is {type(value).__name__}")
    return value


def read_paths(value: Any, root: Path) -> tuple[Path, ...]:
    """Accept one path, a list of paths, or Hugging Face's ``{"path": …}``; relative ones start at `root`.

    Raises:
        RowError: an image is given otherwise.
    """
    values = value if isinstance(value, list | tuple) else (value,)
    names = [item.get("path") if isinstance(item, Mapping) else item for item in values]
    if not all(isinstance(name, str) and name for name in names):
        raise RowError("images must be given by path")
    return tuple(root / str(name) for name in names)
