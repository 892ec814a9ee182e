"""Recipes that make the rejected side of pairs and their weights; one file for each part of a pair."""

from medpref.pairs.recipes import judged as judged
from medpref.pairs.recipes import mined as mined
from medpref.pairs.recipes import sampled as sampled
from medpref.pairs.recipes import shuffled as shuffled
from medpref.pairs.recipes import targeted as targeted
from medpref.pairs.recipes import written as written
from medpref.pairs.recipes.base import LeftOut, Recipe, RecipeContext, StartModel
from medpref.pairs.recipes.filters import filter_recipes
from medpref.pairs.recipes.images import image_recipes
from medpref.pairs.recipes.responses import response_recipes
from medpref.pairs.recipes.weights import weight_recipes

__all__ = [
    "LeftOut",
    "Recipe",
    "RecipeContext",
    "StartModel",
    "filter_recipes",
    "image_recipes",
    "response_recipes",
    "weight_recipes",
]
