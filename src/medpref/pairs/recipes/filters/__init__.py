"""Recipes that leave pairs out: each removal is noted with its reason."""

from medpref.pairs.recipes.filters import contradictions as contradictions
from medpref.pairs.recipes.filters import images as images
from medpref.pairs.recipes.filters import language as language
from medpref.pairs.recipes.filters import leaks as leaks
from medpref.pairs.recipes.filters import responses as responses
from medpref.pairs.recipes.filters.base import filter_recipes

__all__ = ["filter_recipes"]
