"""The stage that makes a pair set from the data's pool."""

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from medpref.errors import InputError, did_you_mean
from medpref.files import write_jsonl
from medpref.pairs.pair import Pair
from medpref.pairs.recipes import RecipeContext
from medpref.pairs.store import read_pairs, write_pairs
from medpref.scoring.inputs import InputCache
from medpref.study.answers import ModelAnswers
from medpref.study.method import RECIPES
from medpref.study.models import load_model
from medpref.study.stage import StageContext, stage_functions
from medpref.study.stages.reading import data_pairs

LEFT_OUT = "left-out.jsonl"


@stage_functions.register("pairs")
def make_pairs(context: StageContext) -> None:
    """Apply the recipes to the pool; pairs that a recipe makes nothing of go to ``left-out.jsonl``."""
    params = context.params
    pairs = of_kinds(data_pairs(context, "pool"), params["kinds"])
    recipe_context = RecipeContext(
        seed=params["seed"],
        folder=context.folder,
        visual_kinds=params["visual_kinds"],
        model=_model(context),
        advance=context.advance,
    )
    for said in params["recipes"]:
        recipe = RECIPES[said["part"]][said["recipe"]]
        if recipe.needs_model:
            context.expect(len(pairs))
        pairs = recipe.run(pairs, said["settings"], recipe_context)
    write_pairs(context.folder / "pairs.jsonl", pairs, context.run)
    write_jsonl(context.folder / LEFT_OUT, [asdict(pair) for pair in recipe_context.left_out])


def _model(context: StageContext) -> ModelAnswers | None:
    folder = context.needs.get("model")
    if folder is None:
        return None
    backbone = load_model(folder / "model")
    return ModelAnswers(backbone, InputCache(backbone), batch=context.params["batch"])


def of_kinds(pairs: Sequence[Pair], kinds: Sequence[str] | None) -> Sequence[Pair]:
    """Return the pairs of the question kinds that a method trains on; of all for None.

    Raises:
        InputError: no pair is of one of the kinds.
    """
    known = {pair.kind for pair in pairs if pair.kind}
    for kind in kinds or ():
        if kind not in known:
            raise InputError(f"no pair is of kind {kind!r}", where="kinds", remedy=did_you_mean(kind, known))
    return [pair for pair in pairs if kinds is None or pair.kind in kinds]


def read_stage_pairs(folder: Path) -> tuple[Pair, ...]:
    """Read what `make_pairs` wrote; the images were checked when the data was read."""
    found = read_pairs(folder / "pairs.jsonl", fatal=True, verify_images=False).pairs
    return tuple(map(_with_plain_paths, found))


def _with_plain_paths(pair: Pair) -> Pair:
    """Return a copy without ``..`` in its paths: one image has to have one name in all pair sets."""
    images = {role: tuple(map(_plain, paths)) for role, paths in pair.images.items()}
    return replace(pair, images=images, region=_plain(pair.region) if pair.region else None)


def _plain(path: Path) -> Path:
    return Path(os.path.normpath(path))
