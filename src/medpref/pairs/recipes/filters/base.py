"""What filters share."""

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from medpref.pairs.pair import Pair
from medpref.pairs.recipes.base import Recipe, RecipeContext
from medpref.registry import Registry

filter_recipes: Registry[Recipe[Any]] = Registry("filter")


class FilterSettings(BaseModel):
    """The settings of a filter; unknown keys fail."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def leave_out_faulty(
    pairs: Sequence[Pair], name: str, fault: Callable[[Pair], str | None], context: RecipeContext
) -> list[Pair]:
    """Return the pairs that `fault` finds nothing wrong with; the others are noted with what it says."""
    kept = []
    for pair in pairs:
        reason = fault(pair)
        if reason is None:
            kept.append(pair)
        else:
            context.leave_out(pair, name, reason)
    return kept
