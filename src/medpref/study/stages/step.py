"""One step of a build: a recipe applied to the pairs of the step before."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from medpref.files import write_jsonl
from medpref.pairs.recipes import RecipeContext
from medpref.pairs.sources.base import read_data_pairs
from medpref.pairs.store import write_pairs
from medpref.scoring.inputs import InputCache
from medpref.starts import StartContext, backbones
from medpref.study.answers import ModelAnswers
from medpref.study.method import RECIPES
from medpref.study.stage import StageContext, stage_functions
from medpref.study.stages.pairs import LEFT_OUT, of_kinds, read_stage_pairs


@stage_functions.register("step")
def apply_step(context: StageContext) -> None:
    """Take the pairs of the data, or apply one recipe; what it leaves out goes to ``left-out.jsonl``."""
    params = context.params
    if params["recipe"] is None:
        pairs = of_kinds(read_data_pairs(context.needs["data"], params["part"]), params["kinds"])
        write_pairs(context.folder / "pairs.jsonl", pairs, context.run)
        write_jsonl(context.folder / LEFT_OUT, [])
        return
    said = params["recipe"]
    recipe = RECIPES[said["part"]][said["name"]]
    pairs = read_stage_pairs(context.needs["pairs"])
    context.expect(len(pairs))
    recipe_context = RecipeContext(
        seed=params["seed"],
        folder=context.folder,
        visual_kinds=params["visual_kinds"],
        model=_model(params["model"], params["batch"], context) if "model" in params else None,
        workers=context.workers,
        advance=context.advance,
    )
    made = recipe.run(pairs, said["settings"], recipe_context)
    write_pairs(context.folder / "pairs.jsonl", made, context.run)
    write_jsonl(context.folder / LEFT_OUT, [asdict(pair) for pair in recipe_context.left_out])


def _model(said: Mapping[str, Any], batch: int, context: StageContext) -> ModelAnswers:
    family = backbones[said["family"]]
    settings = family.settings.model_validate({key: said[key] for key in said if key != "family"})
    start = StartContext(
        texts=lambda: (),
        seed=context.params["seed"],
        folder=context.folder / "checkpoints",
        advance=lambda _: None,
        expect=lambda _: None,
    )
    backbone = family.start(settings, start)
    return ModelAnswers(backbone, InputCache(backbone), batch=batch)
