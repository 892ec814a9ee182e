"""What a recipe is."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from medpref.pairs.pair import Pair

SettingsT = TypeVar("SettingsT", bound=BaseModel)


class NoSettings(BaseModel):
    """The settings of a recipe that has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Recipe(Generic[SettingsT]):
    """One way to make a part of a pair.

    Attributes:
        summary: one line for listings.
        settings: the recipe's settings; unknown keys fail.
        make: ``make(pairs, settings, seed, folder)`` returns the pairs with the part in place; files go
            below `folder`. The same pairs and seed give the same result, whatever the order of the pairs.
    """

    summary: str
    settings: type[SettingsT]
    make: Callable[[Sequence[Pair], SettingsT, int, Path], list[Pair]]

    def run(self, pairs: Sequence[Pair], settings: dict[str, Any], seed: int, folder: Path) -> list[Pair]:
        """Check `settings` and make the part for all `pairs`."""
        return self.make(pairs, self.settings.model_validate(settings), seed, folder)


def generator(seed: int, *names: str) -> np.random.Generator:
    """Return a generator that depends on the seed and the names alone, not on what was drawn before."""
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


def note_recipe(pair: Pair, name: str, seed: int) -> Pair:
    """Return a copy whose provenance tells that the recipe `name` was used with `seed`."""
    before = pair.provenance.recipe
    recipe = f"{before} + {name}" if before else name
    return replace(pair, provenance=replace(pair.provenance, recipe=recipe, seed=seed))
