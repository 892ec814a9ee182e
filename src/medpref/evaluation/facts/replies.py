"""From a judge's reply to one label for each fact, or the reason why not: nothing is guessed."""

import json
from collections.abc import Sequence

from medpref.evaluation.facts.items import Item, list_items
from medpref.evaluation.facts.labels import Label, UnreadableError


def read_labels(content: str, count: int | None = None) -> tuple[Label, ...]:
    """Return the labels of a judge's reply, in the order of the facts.

    Read are JSON lists and objects, code fences, prose around a list, missing and superfluous commas, single
    quotes, one label a line, explanations behind labels, and any letter case. Numbered labels are put in the
    order of their numbers, which have to run from 1 (or from 0) without gaps.

    Args:
        content: the reply.
        count: how many facts were asked about; any number where None.

    Raises:
        UnreadableError: there is no list, an item is none of the four labels, numbers are doubled or missing,
            or there are more or fewer labels than facts. The message says which.
    """
    items = list_items(content)
    unknown = [item for item in items if item.label is None]
    if unknown:
        raise UnreadableError(f"{unknown[0].words!r} is none of the four labels")
    if count is not None and len(items) != count:
        raise UnreadableError(f"{len(items)} labels for {count} facts")
    return tuple(item.label for item in _in_order(items) if item.label is not None)


def write_labels(labels: Sequence[Label]) -> str:
    """Return labels as the study's judges write them: ``["1. Entailment", …]``."""
    return json.dumps([f"{number}. {label.value}" for number, label in enumerate(labels, start=1)])


def _in_order(items: list[Item]) -> list[Item]:
    numbers = [item.number for item in items if item.number is not None]
    if not numbers:
        return items
    first = 0 if 0 in numbers else 1
    if len(numbers) < len(items):
        # Some have no number: what is numbered must stand where its number says.
        places = [item.number for item in items]
        if any(n is not None and n != place for place, n in enumerate(places, start=first)):
            raise UnreadableError("some labels are numbered, and not by their place")
        return items
    if len(set(numbers)) < len(numbers):
        raise UnreadableError("two labels have the same number")
    if sorted(numbers) != list(range(first, first + len(numbers))):
        raise UnreadableError("the labels' numbers have gaps")
    return sorted(items, key=lambda item: item.number or 0)
