"""The pair sets that a study's methods train on: equal recipes on equal pairs make one set."""

from typing import Any

from medpref.files import content_hash
from medpref.pairs.sources import sources
from medpref.study.method import PairSpec
from medpref.study.place import Place
from medpref.study.spec import StudySpec
from medpref.study.stage import Stage


def pair_stage(study: StudySpec, spec: PairSpec, base: Place) -> Stage:
    """Return the stage that makes the pair set of `spec` for methods that begin at `base`."""
    recipes = _recipes(spec)
    params: dict[str, Any] = {
        "recipes": recipes,
        "kinds": list(spec.kinds) if spec.kinds else None,
        "visual_kinds": _visual_kinds(study, base.who["backbone"]),
    }
    data = base.data["pool"]
    if spec.needs_model:
        params |= {"seed": base.who["seed"], "batch": study.generation_batch}
        return Stage(f"pairs/{base.name}/{set_name(spec)}", "pairs", params, {**data, "model": base.model})
    if study.data.per_seed:
        seed = base.who["seed"]
        return Stage(f"pairs/seed-{seed}/{set_name(spec)}", "pairs", {**params, "seed": seed}, data)
    own = f"{base.who['backbone']}/" if study.data.differs else ""
    return Stage(f"pairs/{own}{set_name(spec)}", "pairs", {**params, "seed": study.seeds[0]}, data)


def _visual_kinds(study: StudySpec, backbone: str) -> list[str]:
    """Return the question kinds whose answer has to be read off the image, of all that is learnt from."""
    named = (sources[part.source].visual_kinds for part in study.data.parts("pool", backbone).values())
    return list(dict.fromkeys(kind for kinds in named for kind in kinds))


def set_name(spec: PairSpec) -> str:
    """Return the name of a pair set; specs with the same kinds and recipes share it."""
    names: list[str] = []
    untold: list[Any] = []
    for recipe in _recipes(spec):
        told = [text for key, value in sorted(recipe["settings"].items()) if _tells(text := f"{key}={value}")]
        names.append("-".join([recipe["recipe"], *told]))
        if len(told) < len(recipe["settings"]):
            untold.append(recipe)
    if spec.kinds:
        kinds = f"kinds={','.join(spec.kinds)}"
        names.insert(0, kinds if _tells(kinds) else "kinds")
        untold += [] if _tells(kinds) else [kinds]
    return "+".join([*names, *([content_hash(untold)[:6]] if untold else [])]) or "as-given"


def _tells(text: str) -> bool:
    """Tell whether a setting may stand in a folder's name; a hash tells the others apart."""
    return len(text) < 40 and not set("{}[]/") & set(text)


def _recipes(spec: PairSpec) -> list[dict[str, Any]]:
    """Return the recipes in the order in which they are applied."""
    return [
        {"part": part, "recipe": said.recipe, "settings": said.model_dump(mode="json", exclude={"recipe"})}
        for part, said, _ in spec.recipes()
    ]
