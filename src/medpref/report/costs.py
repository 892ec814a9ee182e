"""The search: what was tried for each method, what was chosen, and what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medpref.report.layout import Layout
from medpref.report.load import Candidate, Search
from medpref.report.wording import counted, in_sentence, metric_name, number


@dataclass(frozen=True, slots=True)
class Tried:
    """One candidate as the page shows it: only the settings that differ between a method's candidates."""

    settings: str
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class SearchLine:
    """One method's search for one backbone and seed; tokens are None where they were not counted.

    Attributes:
        search: what was searched.
        tried: the candidates.
        n: the validation samples that each was asked.
        tokens_chosen: tokens that the chosen candidate was trained on.
        tokens_all: tokens that all candidates were trained on.
    """

    search: Search
    tried: tuple[Tried, ...]
    n: int | None
    tokens_chosen: int | None
    tokens_all: int | None


def search_lines(searches: Sequence[Search], layout: Layout) -> list[SearchLine]:
    """Return a line for each method, in the order of the other tables."""
    order = {name: place for place, name in enumerate(layout.methods)}
    ordered = sorted(searches, key=lambda s: (s.backbone, s.seed, order.get(s.method, len(order)), s.method))
    return [_line(search) for search in ordered]


def _line(search: Search) -> SearchLine:
    keys = differing([candidate.settings for candidate in search.candidates])
    chosen = next((candidate for candidate in search.candidates if candidate.chosen), None)
    tokens = [candidate.tokens for candidate in search.candidates]
    known = [count for count in tokens if count is not None]
    return SearchLine(
        search=search,
        tried=tuple(Tried(_settings(c.settings, keys), c) for c in search.candidates),
        n=chosen.n if chosen else None,
        tokens_chosen=chosen.tokens if chosen else None,
        tokens_all=sum(known) if len(known) == len(tokens) else None,
    )


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys whose values are not the same everywhere."""
    keys = dict.fromkeys(key for one in settings for key in one)
    return [key for key in keys if any(one.get(key) != settings[0].get(key) for one in settings)]


def _settings(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    return ", ".join(f"{key} {setting(settings.get(key))}" for key in keys) or "as the study says"


def setting(value: Any) -> str:
    """Return a setting as text."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {setting(inner)}" for key, inner in value.items()) or "none"
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
    metric = in_sentence(metric_name(first.metric or ""))
    chosen = (
        f"The one with the best {metric} on the {first.split} samples of {first.task} "
        "was then asked the test, once."
    )
    if len(counts) == 1:
        return f"Every method had the same budget: {counted(counts[0], 'candidate')}. {chosen}"
    return f"The methods had unequal budgets: {counts[0]} to {counts[-1]} candidates. {chosen}"
