"""The search: what was tried for each method, what was chosen, and what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medpref.report.layout import Layout
from medpref.report.load import Candidate, Search
from medpref.report.wording import counted, metric_name, number


@dataclass(frozen=True, slots=True)
class SearchRow:
    """One candidate as the page shows it: only the settings that differ between a method's candidates."""

    settings: str
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class SearchTable:
    """One method's search for one backbone and seed; `tokens` are those of all its candidates together."""

    search: Search
    rows: tuple[SearchRow, ...]
    tokens: int | None


def search_tables(searches: Sequence[Search], layout: Layout) -> list[SearchTable]:
    """Return a table for each method, in the order of the other tables."""
    order = {name: place for place, name in enumerate(layout.methods)}
    ordered = sorted(searches, key=lambda s: (s.backbone, s.seed, order.get(s.method, len(order)), s.method))
    return [_table(search) for search in ordered]


def _table(search: Search) -> SearchTable:
    keys = differing([candidate.settings for candidate in search.candidates])
    rows = tuple(SearchRow(_settings(candidate.settings, keys), candidate) for candidate in search.candidates)
    known = [candidate.tokens for candidate in search.candidates if candidate.tokens is not None]
    return SearchTable(search, rows, sum(known) if len(known) == len(rows) else None)


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys whose values are not the same everywhere."""
    keys = dict.fromkeys(key for one in settings for key in one)
    return [key for key in keys if any(one.get(key) != settings[0].get(key) for one in settings)]


def _settings(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    return ", ".join(f"{key} {setting(settings.get(key))}" for key in keys) or "the study’s settings"


def setting(value: Any) -> str:
    """Return a setting as text."""
    if isinstance(value, list | tuple):
        return ", ".join(map(setting, value)) or "none"
    return number(value) if value is None or isinstance(value, bool | int | float) else str(value)


def budget(searches: Sequence[Search]) -> str | None:
    """Say what every method was given, and what chose among it; None where nothing was searched."""
    made = [search for search in searches if search.task]
    if not made:
        return None
    counts = sorted({len(search.candidates) for search in made})
    first = made[0]
    chosen = (
        f"The one with the best {metric_name(first.metric or '').lower()} on the {first.split} samples of "
        f"{first.task} was then asked the test, once."
    )
    if len(counts) == 1:
        return f"Every method had the same budget: {counted(counts[0], 'candidate')}. {chosen}"
    return f"The methods had unequal budgets: {counts[0]} to {counts[-1]} candidates. {chosen}"
