"""From a study to its stages.

data ─┬─ start ── sft ─┬─ reference ─┬─ train … (one for each candidate) ── eval of the method
      └─ pairs ────────┴─────────────┘

A pair set that the SFT model has a part in also comes after it. A method that mixes several objectives has a
pair set, and where it needs one a reference, for each part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from medpref.files import file_hash
from medpref.objectives import objectives
from medpref.scoring.cells import Cell
from medpref.study.datasets import data_needs, data_stages, texts_params
from medpref.study.method import PartSpec
from medpref.study.pairsets import pair_stage, set_name
from medpref.study.place import Place
from medpref.study.spec import BackboneSpec, StudySpec
from medpref.study.stage import Stage
from medpref.training.settings import TrainingSettings

BASELINES = "eval/baselines"
LEAKAGE = "leakage"


def build_graph(study: StudySpec, threads: int) -> dict[str, Stage]:
    """Return the study's stages by name, each after those that it needs.

    Args:
        study: the study.
        threads: processor threads of stages that nothing runs beside.
    """
    stages: dict[str, Stage] = {}
    asked = {
        "conditions": list(study.conditions),
        "likelihood": study.likelihood,
        "reports": _reports(study),
        "batch": study.generation_batch,
        "tasks": list(study.tasks),
        **({"attribution": study.attribution.model_dump(mode="json")} if study.attribution else {}),
    }
    for seed in study.seeds:
        for stage in data_stages(study.data, study.on_bad_row, seed):
            _add(stages, stage)
    first = data_needs(study.data, study.seeds[0])
    _add(stages, Stage(BASELINES, "baselines", asked, first["test"]))
    if study.data.sets:
        _add(stages, Stage(LEAKAGE, "leakage", {}, {**first["train"], **first["pool"], **first["test"]}))
    for backbone in study.backbones:
        places = [_add_start(stages, study, backbone, seed, threads, asked) for seed in study.seeds]
        for name in study.in_order():
            _add_method(stages, study, name, places)
    return stages


def _add_method(stages: dict[str, Stage], study: StudySpec, name: str, places: Sequence[Place]) -> None:
    """Add a method with one backbone: pairs, references, candidates, the choice and evaluations."""
    searched = study.searched()
    for place in places:
        base = _base(study, name, place)
        for part in study.methods[name].mixture.values():
            _add(stages, pair_stage(study, part, base))
    for place in places:
        _add_references(stages, study, _base(study, name, place), study.methods[name].after)
        if place.who["seed"] in searched:
            _add_candidates(stages, study, name, place)
    if study.search and study.search.seeds:
        _add_choice(stages, study, name, [place for place in places if place.who["seed"] in searched])
    for place in places:
        if place.who["seed"] not in searched:
            _add_chosen(stages, study, name, place)
        _add_evaluation(stages, study, name, place)


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
) -> Place:
    """Add one backbone with one seed up to the model that all methods start from, and its evaluation."""
    place = f"{backbone.name}/seed-{seed}"
    who = {"backbone": backbone.name, "seed": seed}
    settings = backbone.model_dump(mode="json", exclude={"name", "family"})
    data = data_needs(study.data, seed, backbone.name)
    # The data's texts, not its files, are read here, so the start can be made while the data is.
    params = {
        **who,
        "family": backbone.family,
        "settings": settings,
        "data": texts_params(stages, data),
    }
    start = _add(stages, Stage(f"start/{place}", "start", params, threads=threads))
    params = {
        **who,
        "on_too_long": study.on_too_long,
        "parts": [{"name": "train", "objective": "sft", "settings": {}, "share": 1.0}],
        "training": study.sft.model_dump(mode="json"),
        **_probe(study, study.sft),
        **_launch(study),
    }
    needs = {"model": start, **data["train"], **(data["validation"] if "probe" in params else {})}
    sft = _add(stages, Stage(f"sft/{place}", "train", params, needs, threads))
    for method, model in (("base", start), ("sft", sft)) if study.base else (("sft", sft),):
        told = {**who, **asked, "method": method, "objective": "none" if method == "base" else "sft"}
        needs = {**data["test"], "candidate-0": model}
        _add(stages, Stage(f"eval/{place}/{method}", "evaluate", told, needs))
    return Place(place, who, asked, data, sft)


def _add_references(stages: dict[str, Stage], study: StudySpec, base: Place, after: str | None) -> None:
    """Add a reference for each pair set of the methods that begin here, in all cells that one needs it in."""
    wanted: dict[str, set[Cell]] = {}
    pairs: dict[str, Stage] = {}
    for method, spec in study.methods.items():
        for part in _parts_with_reference(study, method).values() if spec.after == after else ():
            name = _reference(base, part)
            wanted.setdefault(name, set()).update(objectives[part.objective].cells)
            pairs[name] = pair_stage(study, part, base)
    before: tuple[str, ...] = ()
    for name, cells in wanted.items():
        params = {
            **base.who,
            "on_too_long": study.on_too_long,
            "cells": [cell.key for cell in Cell if cell in cells],
            "precision": study.training.precision,
        }
        needs = {"model": base.model, "pairs": _add(stages, pairs[name])}
        # They share a store, and what was scored in another batch differs in the last bits: side by side,
        # chance would decide which of them scores what both need.
        before = (_add(stages, Stage(name, "reference", params, needs, after=before)),)


def _add_candidates(stages: dict[str, Stage], study: StudySpec, name: str, place: Place) -> None:
    """Add one training of a method for each candidate."""
    for number, params in enumerate(_alternatives(study, name)):
        own = {**place.who, **_training(study), **params}
        _add(
            stages, Stage(_candidate(place, name, number), "train", own, _training_needs(study, name, place))
        )


def _add_chosen(stages: dict[str, Stage], study: StudySpec, name: str, place: Place) -> None:
    """Add the training of the candidate that the search with other seeds chose."""
    own = {**place.who, **_training(study), "alternatives": _alternatives(study, name)}
    needs = {**_training_needs(study, name, place), "choice": _choice(place, name)}
    _add(stages, Stage(_candidate(place, name), "train", own, needs))


def _add_choice(stages: dict[str, Stage], study: StudySpec, name: str, places: Sequence[Place]) -> None:
    """Add the stage that chooses among the candidates of several seeds together."""
    needs = {
        f"seed-{place.who['seed']}/candidate-{number}": _candidate(place, name, number)
        for place in places
        for number in range(len(study.candidates(name)))
    }
    params = {**_told_search(study, name), "backbone": places[0].who["backbone"]}
    _add(stages, Stage(_choice(places[0], name), "choose", params, needs))


def _add_evaluation(stages: dict[str, Stage], study: StudySpec, name: str, place: Place) -> None:
    """Add the stage that asks the test of a method's chosen model, and that keeps it for later methods."""
    params = {**place.who, **place.asked, **_told_search(study, name)}
    needs = _chosen_needs(study, name, place)
    _add(stages, Stage(f"eval/{place.name}/{name}", "evaluate", params, {**place.data["test"], **needs}))
    if any(spec.after == name for spec in study.methods.values()):
        params = {**place.who, **_told_search(study, name)}
        _add(stages, Stage(f"chosen/{place.name}/{name}", "keep-chosen", params, needs))


def _chosen_needs(study: StudySpec, name: str, place: Place) -> dict[str, str]:
    """Return the stages with a method's candidates, or with the chosen one, and with the choice if any."""
    choice = {"choice": _choice(place, name)} if study.search and study.search.seeds else {}
    if place.who["seed"] not in study.searched():
        return {"candidate": _candidate(place, name), **choice}
    count = len(study.candidates(name))
    return {**{f"candidate-{n}": _candidate(place, name, n) for n in range(count)}, **choice}


def _candidate(place: Place, method: str, number: int | None = None) -> str:
    return f"train/{place.name}/{method}/{'chosen' if number is None else number}"


def _choice(place: Place, method: str) -> str:
    return f"choice/{place.who['backbone']}/{method}"


def _training(study: StudySpec) -> dict[str, Any]:
    """Return the parameters that all trainings of methods have."""
    return {
        "on_too_long": study.on_too_long,
        **_launch(study),
        "search": study.search.model_dump(mode="json", exclude={"candidates"}) if study.search else None,
        "batch": study.generation_batch,
    }


def _alternatives(study: StudySpec, name: str) -> list[dict[str, Any]]:
    """Return each candidate's parts and training, as parameters."""
    found = []
    for candidate in study.candidates(name):
        training, settings = study.resolve(name, candidate)
        parts = [
            {"name": key, "objective": part.objective, "settings": settings[key], "share": part.share}
            for key, part in study.methods[name].mixture.items()
        ]
        found.append(
            {"parts": parts, "training": training.model_dump(mode="json"), **_probe(study, training)}
        )
    return found


def _probe(study: StudySpec, training: TrainingSettings) -> dict[str, Any]:
    """Return what a training asks as it goes on, as parameters."""
    if training.probe_every is None or study.search is None:
        return {}
    said = {"task": study.search.task, "metric": study.search.metric, "batch": study.generation_batch}
    return {"probe": said}


def _told_search(study: StudySpec, name: str) -> dict[str, Any]:
    """Return what the search's log tells of a method."""
    resolved = [study.resolve(name, candidate) for candidate in study.candidates(name)]
    return {
        "method": name,
        "objective": study.methods[name].objective_names,
        "candidates": [{**training.model_dump(mode="json"), **_told(own)} for training, own in resolved],
        "search": study.search.model_dump(mode="json", exclude={"candidates"}) if study.search else None,
    }


def _training_needs(study: StudySpec, name: str, place: Place) -> dict[str, str]:
    """Return the stages that a method's training reads, by role."""
    base = _base(study, name, place)
    asked = place.data["validation"] if study.search else {}
    return {"model": base.model, **place.data["train"], **asked, **_part_needs(study, name, base)}


def _base(study: StudySpec, name: str, place: Place) -> Place:
    """Return where a method begins: at the SFT model, or at another method's."""
    before = study.methods[name].after
    if before is None:
        return place
    return replace(place, name=f"{place.name}/after-{before}", model=f"chosen/{place.name}/{before}")


def _part_needs(study: StudySpec, method: str, place: Place) -> dict[str, str]:
    """Return the stages with each part's pairs and reference, by role."""
    parts, referred = study.methods[method].mixture, _parts_with_reference(study, method)
    return {
        **{f"pairs/{key}": pair_stage(study, part, place).name for key, part in parts.items()},
        **{f"reference/{key}": _reference(place, part) for key, part in referred.items()},
    }


def _parts_with_reference(study: StudySpec, method: str) -> dict[str, PartSpec]:
    """Return the parts of a method that some candidate looks up cached reference log-probs for."""
    trainings = (study.resolve(method, candidate)[0] for candidate in study.candidates(method))
    if not any(training.reference == "cached" for training in trainings):
        return {}
    parts = study.methods[method].mixture
    return {key: part for key, part in parts.items() if objectives[part.objective].needs_reference}


def _reference(place: Place, part: PartSpec) -> str:
    return f"reference/{place.name}/{set_name(part)}"


def _told(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the parts' objective settings as one mapping; a mixture's keys begin with the part's name."""
    if len(settings) == 1:
        return dict(next(iter(settings.values())))
    return {f"{name}.{key}": value for name, own in settings.items() for key, value in own.items()}
