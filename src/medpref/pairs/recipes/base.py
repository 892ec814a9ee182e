"""What a recipe is."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict

from medpref.errors import InputError
from medpref.pairs.pair import ImageRole, Pair

SettingsT = TypeVar("SettingsT", bound=BaseModel)


class NoSettings(BaseModel):
    """The settings of a recipe that has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StartModel(Protocol):
    """The model that the methods start from, as far as recipes use it."""

    def answer(
        self,
        pairs: Sequence[Pair],
        role: ImageRole,
        *,
        temperature: float,
        max_new_tokens: int,
        seed: int,
    ) -> list[str]:
        """Answer each pair's prompt on its images of `role`.

        The answers depend on the pairs, the settings and the seed, not on the order of the pairs.
        """

    def is_right(self, pair: Pair, answer: str) -> bool:
        """Tell whether `answer` says what the pair's chosen response says."""

    def look(self, pairs: Sequence[Pair]) -> list[Float[np.ndarray, "h w"]]:
        """Return, for each pair, where on its only clean image the chosen response comes from.

        The larger a value, the more the response depends on that place; a map may be coarser than its image,
        of which it shows all. Maps depend on the pairs, not on their order.
        """


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A pair that a recipe made nothing of, and why."""

    id: str
    recipe: str
    reason: str


@dataclass(frozen=True, slots=True)
class RecipeContext:
    """What a recipe may use besides the pairs and its settings.

    Attributes:
        seed: of everything that is drawn.
        folder: where files go.
        visual_kinds: the question kinds whose answer has to be read off the image, as far as the data's
            source knows them.
        model: what the methods start from; only for recipes that need it.
        workers: how many processes a recipe may use.
        left_out: the pairs that recipes made nothing of.
        advance: called with the number of pairs done, for progress.
        dry: nothing may be asked of an endpoint; recipes that would put something of a similar size in place.
    """

    seed: int
    folder: Path
    visual_kinds: Sequence[str] = ()
    model: StartModel | None = None
    workers: int = 1
    left_out: list[LeftOut] = field(default_factory=list)
    advance: Callable[[int], None] = lambda _: None
    dry: bool = False

    def leave_out(self, pair: Pair, recipe: str, reason: str) -> None:
        """Note that `recipe` makes nothing of `pair`."""
        self.left_out.append(LeftOut(pair.id, recipe, reason))

    def start_model(self) -> StartModel:
        """Return the model.

        Raises:
            InputError: there is none.
        """
        if self.model is None:
            raise InputError("this recipe asks a model, and there is none here")
        return self.model


@dataclass(frozen=True, slots=True)
class Recipe(Generic[SettingsT]):
    """One way to make a part of a pair.

    Attributes:
        summary: one line for listings.
        settings: the recipe's settings; unknown keys fail.
        make: ``make(pairs, settings, context)`` returns the pairs with the part in place; those that it can
            make nothing of are left out and noted in the context. The same pairs and seed give the same
            result, whatever the order of the pairs.
        needs_model: whether the context must hold the model that the methods start from.
        asks: ``asks(settings)`` tells the same of recipes for which it depends on their settings.
    """

    summary: str
    settings: type[SettingsT]
    make: Callable[[Sequence[Pair], SettingsT, RecipeContext], list[Pair]]
    needs_model: bool = False
    asks: Callable[[SettingsT], bool] = lambda _: False

    def asks_model(self, settings: dict[str, Any]) -> bool:
        """Tell whether the recipe with these settings needs the model."""
        return self.needs_model or self.asks(self.settings.model_validate(settings))

    def run(self, pairs: Sequence[Pair], settings: dict[str, Any], context: RecipeContext) -> list[Pair]:
        """Check `settings` and make the part for all `pairs`."""
        return self.make(pairs, self.settings.model_validate(settings), context)


def generator(seed: int, *names: str) -> np.random.Generator:
    """Return a generator that depends on the seed and the names alone, not on what was drawn before."""
    return np.random.default_rng([seed, seed_of(*names)])


def seed_of(*names: str) -> int:
    """Return a seed below 2⁶⁴ that depends on the names alone."""
    return int.from_bytes(hashlib.sha256("\0".join(names).encode()).digest()[:8], "little")


def note_recipe(pair: Pair, name: str, seed: int) -> Pair:
    """Return a copy whose provenance tells that the recipe `name` was used with `seed`."""
    before = pair.provenance.recipe
    recipe = f"{before} + {name}" if before else name
    return replace(pair, provenance=replace(pair.provenance, recipe=recipe, seed=seed))
