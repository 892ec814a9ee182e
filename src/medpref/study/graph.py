"""From a study to its stages.

data ─┬─ start ── sft ─┬─ reference ─┬─ train … (one for each candidate) ── eval of the method
      └─ pairs ────────┴─────────────┘
"""

from typing import Any

from medpref.objectives import objectives
from medpref.pairs.sources import sources
from medpref.scoring.cells import Cell
from medpref.study.spec import BackboneSpec, MethodSpec, StudySpec
from medpref.study.stage import Stage

BASELINES = "eval/baselines"


def build_graph(study: StudySpec, threads: int) -> dict[str, Stage]:
    """Return the study's stages by name, each after those that it needs.

    Args:
        study: the study.
        threads: processor threads of stages that nothing runs beside.
    """
    source = sources[study.data.source]
    settings = source.settings.model_validate(study.data.settings)
    data = Stage(
        "data",
        "data",
        {
            **study.data.model_dump(mode="json"),
            "fatal": study.on_bad_row == "fatal",
            "digest": source.digest(settings),
        },
    )
    stages = {data.name: data}
    for method in study.methods.values():
        stages.setdefault(pairs_name(method), _pairs(study, method))
    asked = {"study": study.study, "conditions": list(study.conditions), "batch": study.generation_batch}
    needs = {"data": "data"}
    _add(stages, Stage(BASELINES, "baselines", {**asked, "tasks": list(study.tasks)}, needs))
    for seed in study.seeds:
        for backbone in study.backbones:
            _add_backbone(stages, study, backbone, seed, threads, {**asked, "tasks": list(study.tasks)})
    return stages


def _add(stages: dict[str, Stage], stage: Stage) -> str:
    stages[stage.name] = stage
    return stage.name


def _add_backbone(
    stages: dict[str, Stage],
    study: StudySpec,
    backbone: BackboneSpec,
    seed: int,
    threads: int,
    asked: dict[str, Any],
) -> None:
    """Add one backbone with one seed: start, SFT, and every method from there."""
    place = f"{backbone.name}/seed-{seed}"
    who = {"backbone": backbone.name, "family": backbone.family, "seed": seed}
    # The data's texts, not its files, are read here, so the start can be made while the data is.
    start = Stage(
        f"start/{place}",
        "start",
        {**who, "settings": backbone.settings, "data": dict(stages["data"].params)},
        threads=threads,
    )
    _add(stages, start)
    skip = {"on_too_long": study.on_too_long}
    sft = Stage(
        f"sft/{place}",
        "train",
        {
            **who,
            **skip,
            "objective": "sft",
            "objective_settings": {},
            "training": study.sft.model_dump(mode="json"),
        },
        {"model": start.name, "data": "data"},
        threads,
    )
    _add(stages, sft)
    evaluate = {"data": "data", "candidate-0": sft.name}
    _add(stages, Stage(f"eval/{place}/sft", "evaluate", {**who, **asked, "method": "sft"}, evaluate))
    for name, cells in _reference_cells(study).items():
        needs = {"model": sft.name, "pairs": name}
        params = {**who, **skip, "cells": [cell.key for cell in cells], "precision": study.training.precision}
        _add(stages, Stage(f"reference/{place}/{name.removeprefix('pairs/')}", "reference", params, needs))
    for method in study.methods:
        _add_method(stages, study, method, who, place, asked)


def _add_method(
    stages: dict[str, Stage],
    study: StudySpec,
    method: str,
    who: dict[str, Any],
    place: str,
    asked: dict[str, Any],
) -> None:
    """Add one training for each candidate, and the stage that chooses among them and asks the test."""
    spec = study.methods[method]
    pairs = pairs_name(spec)
    evaluate = {"data": "data"}
    tried = []
    for number, candidate in enumerate(study.candidates(method)):
        training, settings = study.resolve(method, candidate)
        params = {
            **who,
            "on_too_long": study.on_too_long,
            "objective": spec.objective,
            "objective_settings": settings,
            "training": training.model_dump(mode="json"),
            "search": study.search.model_dump(mode="json", exclude={"candidates"}) if study.search else None,
            "batch": study.generation_batch,
        }
        needs = {"model": f"sft/{place}", "data": "data", "pairs": pairs}
        if objectives[spec.objective].needs_reference:
            needs["reference"] = f"reference/{place}/{pairs.removeprefix('pairs/')}"
        evaluate[f"candidate-{number}"] = _add(
            stages, Stage(f"train/{place}/{method}/{number}", "train", params, needs)
        )
        tried.append({**training.model_dump(mode="json"), **settings})
    params = {**who, **asked, "method": method, "objective": spec.objective, "candidates": tried}
    if study.search:
        params["search"] = study.search.model_dump(mode="json", exclude={"candidates"})
    _add(stages, Stage(f"eval/{place}/{method}", "evaluate", params, evaluate))


def _recipes(method: MethodSpec) -> list[dict[str, Any]]:
    """Return the method's recipes in the order in which they are applied."""
    return [{"part": part, **spec.model_dump(mode="json")} for part, spec, _ in method.recipes()]


def pairs_name(method: MethodSpec) -> str:
    """Return the name of the pair set that a method trains on; methods with the same recipes share it."""
    names = []
    for recipe in _recipes(method):
        extra = [f"{key}={value}" for key, value in sorted(recipe.items()) if key not in ("part", "recipe")]
        # A mapping in the settings makes no folder name; the stage's key tells such sets apart.
        plain = [text for text in extra if len(text) < 40 and "{" not in text]
        names.append("-".join([recipe["recipe"], *plain]))
    return "pairs/" + ("+".join(names) or "as-given")


def _pairs(study: StudySpec, method: MethodSpec) -> Stage:
    params = {"recipes": _recipes(method), "seed": study.seeds[0]}
    return Stage(pairs_name(method), "pairs", params, {"data": "data"})


def _reference_cells(study: StudySpec) -> dict[str, list[Cell]]:
    """Return, for each pair set, the cells that some objective needs the reference in."""
    wanted: dict[str, set[Cell]] = {}
    for method in study.methods.values():
        objective = objectives[method.objective]
        if objective.needs_reference:
            wanted.setdefault(pairs_name(method), set()).update(objective.cells)
    return {name: [cell for cell in Cell if cell in cells] for name, cells in wanted.items()}
