"""What a study may say of a method: one objective, or a mixture of several."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medpref.errors import InputError
from medpref.objectives import objectives
from medpref.pairs.recipes import Recipe, filter_recipes, image_recipes, response_recipes, weight_recipes
from medpref.registry import Registry
from medpref.study.explain import check_settings
from medpref.study.presets import RECIPE_KEYS, whole_recipe

RECIPES: Mapping[str, Registry[Recipe[Any]]] = {
    **dict(zip(RECIPE_KEYS, (response_recipes, image_recipes, weight_recipes), strict=True)),
    "filters": filter_recipes,
}
"""The recipes for each part of a pair, and those that leave pairs out, in the order of their application."""

Name = Annotated[str, Field(pattern=r"^[\w.+-]+$")]
"""A name that is also a folder's."""


@contextmanager
def located(key: str) -> Iterator[None]:
    """Say that an error was found below the dotted `key`."""
    try:
        yield
    except InputError as error:
        error.where = ".".join(part for part in (key, error.where) if part) or None
        raise


class Strict(BaseModel):
    """A part of a study: unknown keys fail."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Settled(Strict):
    """A part that names a registered thing and carries that thing's own settings beside the name."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def settings(self) -> dict[str, Any]:
        """The keys that belong to the named thing."""
        return dict(self.model_extra or {})


class RecipeSpec(Settled):
    """A recipe by name, with its settings."""

    recipe: str


class PairSpec(Strict):
    """Which of the data's pairs are trained on, and how their rejected side is made.

    Attributes:
        rejected_response: recipe for the rejected response; without it the data's own is used.
        rejected_image: recipe for the rejected image.
        weight: recipe for the pair weight.
        filters: recipes that leave pairs out, in this order.
        kinds: the question kinds that are trained on; all by default.
    """

    rejected_response: RecipeSpec | None = None
    rejected_image: RecipeSpec | None = None
    weight: RecipeSpec | None = None
    filters: tuple[RecipeSpec, ...] = ()
    kinds: tuple[str, ...] | None = Field(None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _short_recipes(cls, value: Any) -> Any:
        """Let a recipe's name stand for the recipe."""
        if not isinstance(value, dict):
            return value
        whole = {key: whole_recipe(key, said) for key, said in value.items()}
        if isinstance(whole.get("filters"), list):
            whole["filters"] = [{"recipe": f} if isinstance(f, str) else f for f in whole["filters"]]
        return whole

    def recipes(self) -> Iterator[tuple[str, RecipeSpec, Recipe[Any]]]:
        """Yield (key, what the study says, recipe) in the order in which recipes are applied."""
        for key, registry in RECIPES.items():
            said = getattr(self, key)
            for spec in said if isinstance(said, tuple) else [said] if said is not None else []:
                with located(key):
                    recipe = registry[spec.recipe]
                yield key, spec, recipe

    @property
    def needs_model(self) -> bool:
        """Whether a recipe asks the model that the methods start from."""
        return any(recipe.asks_model(spec.settings) for _, spec, recipe in self.recipes())


class PartSpec(PairSpec):
    """An objective on pairs.

    Attributes:
        objective: the loss's name.
        settings: the loss's settings, such as ``beta``.
        share: how much of the training this part is, relative to the other parts' shares.
    """

    objective: str
    settings: dict[str, Any] = {}
    share: float = Field(1.0, gt=0)

    def check(self) -> None:
        """Look up everything that the part names, and check its settings. Raises `InputError`."""
        with located("objective"):
            objective = objectives[self.objective]
        objective.check_settings(self.settings, "settings")
        for key, spec, recipe in self.recipes():
            check_settings(recipe.settings, spec.settings, key)


class MethodSpec(PairSpec):
    """One method: an objective on pairs, or a mixture of such parts.

    Attributes:
        method: the preset that it was made from, if any.
        objective: the loss's name; not in a mixture.
        settings: the loss's settings, such as ``beta``.
        parts: what a mixture is made of, by name.
        after: another method, whose chosen model this one begins with in place of the SFT model; it is also
            the reference and what recipes ask. So a second round learns from the first one's own answers.
        training: what this method trains differently from the study's `training`.
        candidates: settings to search over, in place of the study's; as many as every other method has.
    """

    method: str | None = None
    objective: str | None = None
    settings: dict[str, Any] = {}
    parts: dict[Name, PartSpec] = {}
    after: str | None = None
    training: dict[str, Any] = {}
    candidates: tuple[dict[str, Any], ...] | None = None

    @model_validator(mode="after")
    def _one_or_several(self) -> "MethodSpec":
        own = [
            key for key in ("objective", "settings", "kinds", "filters", *RECIPE_KEYS) if getattr(self, key)
        ]
        if self.parts and own:
            raise ValueError(f"a method has parts or its own {own[0]}, not both")
        if not self.parts and self.objective is None:
            raise ValueError("a method needs an objective, or parts, or the name of a preset as its method")
        return self

    @property
    def mixture(self) -> dict[str, PartSpec]:
        """The method's parts; a method with one objective is one part called ``pairs``."""
        if self.parts:
            return self.parts
        own = {key: getattr(self, key) for key in PartSpec.model_fields if key != "share"}
        return {"pairs": PartSpec.model_construct(**own, share=1.0)}

    @property
    def objective_names(self) -> str:
        """The objectives that the method trains, such as ``dpo + copo``."""
        return " + ".join(dict.fromkeys(part.objective for part in self.mixture.values()))

    def check(self) -> None:
        """Look up everything that the method names, and check its settings. Raises `InputError`."""
        for name, part in self.mixture.items():
            with located(f"parts.{name}" if self.parts else ""):
                part.check()
