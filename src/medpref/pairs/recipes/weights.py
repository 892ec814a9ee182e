"""Recipes for pair weights: the clinical relevance that MMedPO multiplies its loss by."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field

from medpref.errors import InputError
from medpref.pairs.pair import ImageRole, Pair
from medpref.pairs.recipes.base import Recipe, RecipeContext, note_recipe, seed_of
from medpref.registry import Registry

weight_recipes: Registry[Recipe[Any]] = Registry("weight recipe")


class WeightSettings(BaseModel):
    """How raw relevance scores in [0, 1] become weights.

    Attributes:
        normalise: ``standardise`` to mean 1 and variance 0.1 and clip to [0.75, 1.25], or take them ``raw``,
            as published code does; a raw score of 0 deletes its pair.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    normalise: Literal["standardise", "raw"] = "standardise"


class KindSettings(WeightSettings):
    """Relevance by question kind; `other` is for kinds that are not listed."""

    kinds: dict[str, float]
    other: float = 0.5


class HardnessSettings(WeightSettings):
    """How the model is asked.

    Attributes:
        samples: answers for each pair.
        temperature: of the answers.
        max_new_tokens: the longest answer.
    """

    samples: int = Field(4, ge=1)
    temperature: float = Field(1.0, gt=0)
    max_new_tokens: int = Field(64, ge=1)


def standardise(scores: Float[np.ndarray, " pairs"]) -> Float[np.ndarray, " pairs"]:
    """Return scores with mean 1 and variance 0.1, clipped to [0.75, 1.25]. arXiv:2412.06141, sec. 3.3.

    Equal scores all become 1.
    """
    # Equal scores have a deviation of rounding errors, not of zero.
    differ = bool(np.ptp(scores) > 0)
    centred = (scores - scores.mean()) / scores.std() if differ else np.zeros_like(scores)
    weights: Float[np.ndarray, " pairs"] = np.clip(1 + np.sqrt(0.1) * centred, 0.75, 1.25)
    return weights


def weigh(
    pairs: Sequence[Pair], raw: Sequence[float], settings: WeightSettings, name: str, seed: int
) -> list[Pair]:
    """Return the pairs with the weights that their `raw` scores in [0, 1] make, by the settings."""
    scores = np.asarray(raw, dtype=np.float64)
    weights = standardise(scores) if settings.normalise == "standardise" else scores
    label = f"{name} ({settings.normalise})"
    return [
        note_recipe(replace(p, weight=float(w)), label, seed) for p, w in zip(pairs, weights, strict=True)
    ]


def given(pairs: Sequence[Pair], settings: WeightSettings, context: RecipeContext) -> list[Pair]:
    """Use the weights that came with the pairs.

    Raises:
        InputError: a pair has none.
    """
    for pair in pairs:
        if pair.weight is None:
            raise InputError("the pair came without a weight", where=f"pair {pair.id}")
    return weigh(pairs, [pair.weight or 0.0 for pair in pairs], settings, "given", context.seed)


def by_kind(pairs: Sequence[Pair], settings: KindSettings, context: RecipeContext) -> list[Pair]:
    """Weigh pairs by their question kind."""
    raw = [settings.kinds.get(pair.kind or "", settings.other) for pair in pairs]
    return weigh(pairs, raw, settings, "by-kind", context.seed)


def hardness(pairs: Sequence[Pair], settings: HardnessSettings, context: RecipeContext) -> list[Pair]:
    """Weigh pairs by the share of the SFT model's sampled answers that are wrong."""
    model = context.start_model()
    wrong = np.zeros(len(pairs))
    for sample in range(settings.samples):
        answers = model.answer(
            pairs,
            ImageRole.CLEAN,
            temperature=settings.temperature,
            max_new_tokens=settings.max_new_tokens,
            seed=seed_of(str(context.seed), "hardness", str(sample)),
        )
        wrong += [not model.is_right(pair, answer) for pair, answer in zip(pairs, answers, strict=True)]
    context.advance(len(pairs))
    return weigh(pairs, list(wrong / settings.samples), settings, "hardness", context.seed)


weight_recipes.add(
    "hardness",
    Recipe("how often the SFT model answers wrongly", HardnessSettings, hardness, needs_model=True),
)
weight_recipes.add("given", Recipe("the weights that came with the pairs", WeightSettings, given))
weight_recipes.add("by-kind", Recipe("a relevance for each question kind", KindSettings, by_kind))
