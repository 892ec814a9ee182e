"""Recipes that leave pairs out: each removal is noted with its reason."""

from collections.abc import Sequence
from typing import Any

from medpref.pairs.pair import Pair, ResponseRole
from medpref.pairs.recipes.base import NoSettings, Recipe, RecipeContext
from medpref.pairs.recipes.responses import spoken
from medpref.registry import Registry

filter_recipes: Registry[Recipe[Any]] = Registry("filter")


def differing(pairs: Sequence[Pair], settings: NoSettings, context: RecipeContext) -> list[Pair]:
    """Leave out pairs whose responses sound the same."""
    kept = []
    for pair in pairs:
        said = [spoken(text) for text in pair.responses.values()]
        if len(said) == len(ResponseRole) and len(set(said)) == 1:
            context.leave_out(pair, "differing", "chosen and rejected response sound the same")
        else:
            kept.append(pair)
    return kept


filter_recipes.add("differing", Recipe("chosen and rejected response differ", NoSettings, differing))
