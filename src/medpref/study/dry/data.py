"""Data for a dry run: the pairs of a sample of the images, made by the study's own recipes."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel

from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.recipes import RecipeContext
from medpref.pairs.sources import sources
from medpref.pairs.sources.base import Source
from medpref.study.method import RECIPES
from medpref.study.stage import Stage
from medpref.study.stages.pairs import of_kinds


class Sampled(NamedTuple):
    """Pairs on some of the data's images.

    Attributes:
        pairs: all pairs on these images.
        images: how many images that are.
        of: how many there are in all.
    """

    pairs: Sequence[Pair]
    images: int
    of: int

    @property
    def factor(self) -> float:
        """How many times larger the whole is."""
        return self.of / max(self.images, 1)


class DryData:
    """A study's pairs on a sample of images.

    Args:
        params: of the study's data stage.
        folder: where images go that are drawn.
        limit: the most images of train, and of the pool.
    """

    def __init__(self, params: Mapping[str, Any], folder: Path, limit: int) -> None:
        source = sources[params["source"]]
        whole = source.settings.model_validate(params["settings"])
        data = source.load(_shortened(source, whole, limit), folder / "data", params["fatal"], lambda _: None)
        self.train = _sample(data.train, limit, _drawn(source, whole, "train"))
        self.pool = _sample(data.pool, limit, _drawn(source, whole, "pool"))
        self.notes: dict[str, None] = {}
        """What the pairs are not as they will be."""
        for name, sampled in (("train", self.train), ("pool", self.pool)):
            if sampled.images < sampled.of:
                self.notes[f"{name}: figures come from {sampled.images} of {sampled.of} images"] = None
        self._folder = folder
        self._made: dict[str, Sampled] = {}

    def pair_set(self, stage: Stage) -> Sampled:
        """Return what a ``pairs`` stage would make of the sample.

        Recipes that ask the SFT model get another pair's chosen response for its answer.

        Raises:
            InputError: a recipe cannot be applied.
        """
        if stage.name not in self._made:
            self._made[stage.name] = self._make(stage)
        return self._made[stage.name]

    def _make(self, stage: Stage) -> Sampled:
        params = stage.params
        pairs: Sequence[Pair] = of_kinds(self.pool.pairs, params["kinds"])
        context = RecipeContext(
            seed=params["seed"],
            folder=self._folder / stage.name,
            visual_kinds=params["visual_kinds"],
            model=_StandIn(self.pool.pairs),
            dry=True,
        )
        for said in params["recipes"]:
            recipe = RECIPES[said["part"]][said["recipe"]]
            pairs = recipe.run(pairs, said["settings"], context)
            if recipe.asks_model(said["settings"]):
                self.notes[f"{said['recipe']}: other pairs' chosen responses stand in for the model's"] = None
        if context.left_out:
            self.notes[f"{stage.name}: {len(context.left_out)} pairs of the sample are left out"] = None
        return self.pool._replace(pairs=pairs)


class _StandIn:
    """Answers with another pair's chosen response, always wrong: as long as answers are in this data."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._known: dict[str | None, list[str]] = {}
        for pair in pairs:
            self._known.setdefault(pair.kind, []).append(pair.responses[ResponseRole.CHOSEN])

    def answer(
        self, pairs: Sequence[Pair], role: ImageRole, *, temperature: float, max_new_tokens: int, seed: int
    ) -> list[str]:
        """Return one response for each pair, of a pair of its kind."""
        draw = random.Random(seed)
        everything = [text for known in self._known.values() for text in known]
        return [draw.choice(self._known.get(pair.kind, everything)) for pair in pairs]

    def is_right(self, pair: Pair, answer: str) -> bool:
        """Call every answer wrong."""
        return False

    def look(self, pairs: Sequence[Pair]) -> list[Float[np.ndarray, "h w"]]:
        """Return maps that are hottest at one side: as large a region as the model would point at."""
        return [np.tile(np.arange(24.0), (24, 1)) for _ in pairs]


def _shortened(source: Source, settings: BaseModel, limit: int) -> BaseModel:
    """Return settings by which a source that draws its images draws no more than are looked at."""
    counts = {split: _drawn(source, settings, split) for split in ("train", "pool", "validation", "test")}
    most = {"train": limit, "pool": limit, "validation": 1, "test": 1}
    changes = {split: min(count, most[split]) for split, count in counts.items() if count is not None}
    return settings.model_copy(update=changes)


def _drawn(source: Source, settings: BaseModel, split: str) -> int | None:
    """Return how many images a source draws for a split; None for a source that reads files."""
    count = getattr(settings, split, None) if source.work(settings) is not None else None
    return count if isinstance(count, int) else None


def _sample(pairs: Sequence[Pair], limit: int, drawn: int | None) -> Sampled:
    keys = list(dict.fromkeys(pair.image_key or pair.id for pair in pairs))
    kept = set(random.Random(0).sample(keys, min(limit, len(keys))))
    some = [pair for pair in pairs if (pair.image_key or pair.id) in kept]
    return Sampled(some, len(kept), drawn if drawn is not None else len(keys))
