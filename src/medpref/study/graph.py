"""From a study to its stages.

data ─┬─ start ── sft ─┬─ reference ─┬─ train … (one for each candidate) ── eval of the method
      └─ pairs ────────┴─────────────┘

A pair set that the SFT model has a part in also comes after it. A method that mixes several objectives has a
pair set, and where it needs one a reference, for each part.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medpref.files import file_hash
from medpref.objectives import objectives
from medpref.pairs.sources import sources
from medpref.scoring.cells import Cell
from medpref.study.method import PartSpec
from medpref.study.pairsets import pair_stage, set_name
from medpref.study.spec import BackboneSpec, DataSpec, StudySpec
from medpref.study.stage import Stage

BASELINES = "eval/baselines"


@dataclass(frozen=True, slots=True)
class _Place:
    """One backbone with one seed: what its stages have in common.

    Attributes:
        name: ``BACKBONE/seed-SEED``.
        who: backbone and seed, as parameters.
        asked: the parameters of evaluations.
        sft: the name of the stage that makes the model that all methods start from.
    """

    name: str
    who: Mapping[str, Any]
    asked: Mapping[str, Any]
    sft: str


def build_graph(study: StudySpec, threads: int) -> dict[str, Stage]:
    """Return the study's stages by name, each after those that it needs.

    Args:
        study: the study.
        threads: processor threads of stages that nothing runs beside.
    """
    data = data_stage(study.data, study.on_bad_row)
    stages = {data.name: data}
    asked = {
        "study": study.study,
        "conditions": list(study.conditions),
        "likelihood": study.likelihood,
        "reports": _reports(study),
        "batch": study.generation_batch,
        "tasks": list(study.tasks),
    }
    _add(stages, Stage(BASELINES, "baselines", asked, {"data": "data"}))
    for seed in study.seeds:
        for backbone in study.backbones:
            place = _add_start(stages, study, backbone, seed, threads, asked)
            for method in study.methods.values():
                for part in method.mixture.values():
                    _add(stages, pair_stage(study, part, place.name, seed))
            _add_references(stages, study, place)
            for name in study.methods:
                _add_method(stages, study, name, place)
    return stages


def data_stage(data: DataSpec, on_bad_row: str) -> Stage:
    """Return the stage that reads the data; its key changes with what lies behind the settings."""
    source = sources[data.source]
    params = {
        "source": data.source,
        "settings": data.model_dump(mode="json", exclude={"source"}),
        "fatal": on_bad_row == "fatal",
        "digest": source.digest(source.settings.model_validate(data.settings)),
    }
    return Stage("data", "data", params)


def _reports(study: StudySpec) -> dict[str, Any] | None:
    """Return how reports are scored, with the hash of the file of facts."""
    if study.reports is None:
        return None
    said = study.reports.model_dump(mode="json")
    path = study.reports.facts
    return {**said, "facts_hash": file_hash(path) if path and path.is_file() else None}


def _launch(study: StudySpec) -> dict[str, Any]:
    """Return how trainings are launched: a part of their keys, for other processes round differently."""
    return {"launch": study.launch.model_dump(mode="json")} if study.launch else {}


def _add(stages: dict[str, Stage], stage: Stage) -> str:
    stages.setdefault(stage.name, stage)
    return stage.name


def _add_start(
    stages: dict[str, Stage],
    study: StudySpec,
    backbone: BackboneSpec,
    seed: int,
    threads: int,
    asked: Mapping[str, Any],
) -> _Place:
    """Add one backbone with one seed up to the model that all methods start from, and its evaluation."""
    place = f"{backbone.name}/seed-{seed}"
    who = {"backbone": backbone.name, "seed": seed}
    settings = backbone.model_dump(mode="json", exclude={"name", "family"})
    # The data's texts, not its files, are read here, so the start can be made while the data is.
    params = {
        **who,
        "family": backbone.family,
        "settings": settings,
        "data": {key: stages["data"].params[key] for key in ("source", "settings", "digest")},
    }
    start = _add(stages, Stage(f"start/{place}", "start", params, threads=threads))
    params = {
        **who,
        "on_too_long": study.on_too_long,
        "parts": [{"name": "train", "objective": "sft", "settings": {}, "share": 1.0}],
        "training": study.sft.model_dump(mode="json"),
        **_launch(study),
    }
    sft = _add(stages, Stage(f"sft/{place}", "train", params, {"model": start, "data": "data"}, threads))
    params = {**who, **asked, "method": "sft", "objective": "sft"}
    _add(stages, Stage(f"eval/{place}/sft", "evaluate", params, {"data": "data", "candidate-0": sft}))
    return _Place(place, who, asked, sft)


def _add_references(stages: dict[str, Stage], study: StudySpec, place: _Place) -> None:
    """Add a reference for each pair set, in the cells that some objective needs it in."""
    wanted: dict[str, set[Cell]] = {}
    pairs: dict[str, str] = {}
    for method in study.methods:
        for part in _parts_with_reference(study, method).values():
            name = _reference(place, part)
            wanted.setdefault(name, set()).update(objectives[part.objective].cells)
            pairs[name] = _pairs(study, place, part)
    before: tuple[str, ...] = ()
    for name, cells in wanted.items():
        params = {
            **place.who,
            "on_too_long": study.on_too_long,
            "cells": [cell.key for cell in Cell if cell in cells],
            "precision": study.training.precision,
        }
        needs = {"model": place.sft, "pairs": pairs[name]}
        # They share a store, and what was scored in another batch differs in the last bits: side by side,
        # chance would decide which of them scores what both need.
        before = (_add(stages, Stage(name, "reference", params, needs, after=before)),)


def _add_method(stages: dict[str, Stage], study: StudySpec, name: str, place: _Place) -> None:
    """Add one training for each candidate, and the stage that chooses among them and asks the test."""
    spec = study.methods[name]
    search = study.search.model_dump(mode="json", exclude={"candidates"}) if study.search else None
    needs = {"model": place.sft, "data": "data", **_part_needs(study, name, place)}
    candidates, tried = {}, []
    for number, candidate in enumerate(study.candidates(name)):
        training, settings = study.resolve(name, candidate)
        params = {
            **place.who,
            "on_too_long": study.on_too_long,
            "parts": [
                {"name": key, "objective": part.objective, "settings": settings[key], "share": part.share}
                for key, part in spec.mixture.items()
            ],
            "training": training.model_dump(mode="json"),
            **_launch(study),
            "search": search,
            "batch": study.generation_batch,
        }
        stage = Stage(f"train/{place.name}/{name}/{number}", "train", params, needs)
        candidates[f"candidate-{number}"] = _add(stages, stage)
        tried.append({**params["training"], **_told(settings)})
    params = {
        **place.who,
        **place.asked,
        "method": name,
        "objective": spec.objective_names,
        "candidates": tried,
        "search": search,
    }
    _add(stages, Stage(f"eval/{place.name}/{name}", "evaluate", params, {"data": "data", **candidates}))


def _part_needs(study: StudySpec, method: str, place: _Place) -> dict[str, str]:
    """Return the stages with each part's pairs and reference, by role."""
    parts, referred = study.methods[method].mixture, _parts_with_reference(study, method)
    return {
        **{f"pairs/{key}": _pairs(study, place, part) for key, part in parts.items()},
        **{f"reference/{key}": _reference(place, part) for key, part in referred.items()},
    }


def _parts_with_reference(study: StudySpec, method: str) -> dict[str, PartSpec]:
    """Return the parts of a method that some candidate looks up cached reference log-probs for."""
    trainings = (study.resolve(method, candidate)[0] for candidate in study.candidates(method))
    if not any(training.reference == "cached" for training in trainings):
        return {}
    parts = study.methods[method].mixture
    return {key: part for key, part in parts.items() if objectives[part.objective].needs_reference}


def _pairs(study: StudySpec, place: _Place, part: PartSpec) -> str:
    return pair_stage(study, part, place.name, place.who["seed"]).name


def _reference(place: _Place, part: PartSpec) -> str:
    return f"reference/{place.name}/{set_name(part)}"


def _told(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the parts' objective settings as one mapping; a mixture's keys begin with the part's name."""
    if len(settings) == 1:
        return dict(next(iter(settings.values())))
    return {f"{name}.{key}": value for name, own in settings.items() for key, value in own.items()}
