"""Data for a dry run: pairs of a sample of the images by the study's own recipes, and some of the test."""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel

from medpref.evaluation.conditions import ConditionContext, conditions
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.recipes import RecipeContext
from medpref.pairs.sample import Sample
from medpref.pairs.sources import sources
from medpref.pairs.sources.base import Source
from medpref.study.datasets import USES, Use
from medpref.study.method import RECIPES
from medpref.study.stage import Stage
from medpref.study.stages.pairs import of_kinds

TEST_IMAGES = 32
"""The most test images that a plan looks at: some conditions draw each of them anew."""


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


class Questions(NamedTuple):
    """Test samples on some of a task's images, of so many in all."""

    samples: Sequence[Sample]
    images: int
    of: int

    @property
    def factor(self) -> float:
        """How many times larger the whole is."""
        return self.of / max(self.images, 1)


class DryData:
    """A study's pairs on a sample of images, and its test questions on another.

    Args:
        params: of the study's data stages, by name.
        folder: where images go that are drawn.
        limit: the most images of train, and of the pool; of the test there are fewer.
    """

    def __init__(self, params: Mapping[str, Any], folder: Path, limit: int) -> None:
        self.notes: dict[str, None] = {}
        """What the pairs are not as they will be."""
        self._folder = folder
        self._limit = limit
        self._train: dict[str, Sampled] = {}
        self._pool: dict[str, Sampled] = {}
        self._tests: dict[str, Questions] = {}
        for name, said in params.items():
            self._read(name, said)
        self._made: dict[str, Sampled] = {}
        self._shown: dict[tuple[str, str], Sequence[Sample]] = {}

    def _read(self, name: str, said: Mapping[str, Any]) -> None:
        """Read a source, and keep samples of what the study uses it for."""
        source, limit = sources[said["source"]], self._limit
        whole = source.settings.model_validate(said["settings"])
        short = _shortened(source, whole, limit)
        data = source.load(short, self._folder / name, said["fatal"], lambda _: None)
        self._train[name] = _sample(data.train, limit, _drawn(source, whole, "train"))
        self._pool[name] = _sample(data.pool, limit, _drawn(source, whole, "pool"))
        uses = said.get("use", USES)
        for use, sampled in (("train", self._train[name]), ("pool", self._pool[name])):
            if use in uses and sampled.images < sampled.of:
                told = use if name == "data" else f"{name.removeprefix('data/')}, {use}"
                self.notes[f"{told}: figures come from {sampled.images} of {sampled.of} images"] = None
        drawn, most = _drawn(source, whole, "test"), min(limit, TEST_IMAGES)
        for (split, task), own in data.samples.items():
            if split == "test" and "test" in uses:
                self._tests[task] = _questions(own, most, drawn)

    def train(self, stage: Stage) -> Sampled:
        """Return the supervised pairs that a training learns."""
        return _together([self._train[name] for name in _used(stage, "train")])

    def all_train(self) -> Iterator[Pair]:
        """Yield the supervised pairs of all sets."""
        for sampled in self._train.values():
            yield from sampled.pairs

    def test(self, task: str, condition: str) -> tuple[Sequence[Sample], float]:
        """Return test samples as a condition shows them, and how many times larger the whole is.

        Raises:
            InputError: an image or a region cannot be read.
        """
        found = self._tests.get(task, Questions((), 0, 0))
        if found.images < found.of:
            self.notes[f"test: figures come from {found.images} of {found.of} images"] = None
        if (task, condition) not in self._shown:
            context = ConditionContext(self._folder / "shown" / condition)
            self._shown[task, condition] = conditions[condition].show(found.samples, context)
        return self._shown[task, condition], found.factor

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
        pool = _together([self._pool[name] for name in _used(stage, "pool")])
        pairs: Sequence[Pair] = of_kinds(pool.pairs, params["kinds"])
        context = RecipeContext(
            seed=params["seed"],
            folder=self._folder / stage.name,
            visual_kinds=params["visual_kinds"],
            model=_StandIn(pool.pairs),
            dry=True,
        )
        for said in params["recipes"]:
            recipe = RECIPES[said["part"]][said["recipe"]]
            pairs = recipe.run(pairs, said["settings"], context)
            if recipe.asks_model(said["settings"]):
                self.notes[f"{said['recipe']}: other pairs' chosen responses stand in for the model's"] = None
        if context.left_out:
            self.notes[f"{stage.name}: {len(context.left_out)} pairs of the sample are left out"] = None
        return pool._replace(pairs=pairs)


def _used(stage: Stage, use: Use) -> list[str]:
    """Return the data stages that a stage needs for a use."""
    return [name for role, name in stage.needs.items() if role == "data" or role.startswith(f"data/{use}/")]


def _together(sampled: Sequence[Sampled]) -> Sampled:
    """Return the samples of several sets as one."""
    if len(sampled) == 1:
        return sampled[0]
    return Sampled(
        [pair for each in sampled for pair in each.pairs],
        sum(each.images for each in sampled),
        sum(each.of for each in sampled),
    )


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
    most = {"train": limit, "pool": limit, "validation": 1, "test": min(limit, TEST_IMAGES)}
    changes = {split: min(count, most[split]) for split, count in counts.items() if count is not None}
    return settings.model_copy(update=changes)


def _drawn(source: Source, settings: BaseModel, split: str) -> int | None:
    """Return how many images a source draws for a split; None for a source that reads files."""
    count = getattr(settings, split, None) if source.work(settings) is not None else None
    return count if isinstance(count, int) else None


def _questions(samples: Sequence[Sample], limit: int, drawn: int | None) -> Questions:
    keys = list(dict.fromkeys(sample.cluster for sample in samples))
    kept = set(random.Random(0).sample(keys, min(limit, len(keys))))
    some = [sample for sample in samples if sample.cluster in kept]
    return Questions(some, len(kept), drawn if drawn is not None else len(keys))


def _sample(pairs: Sequence[Pair], limit: int, drawn: int | None) -> Sampled:
    keys = list(dict.fromkeys(pair.image_key or pair.id for pair in pairs))
    kept = set(random.Random(0).sample(keys, min(limit, len(keys))))
    some = [pair for pair in pairs if (pair.image_key or pair.id) in kept]
    return Sampled(some, len(kept), drawn if drawn is not None else len(keys))
