"""What a study needs and this machine does not have: files, models, packages, keys."""

import os
import shutil
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel

from medpref.endpoints.endpoint import ConnectionSettings
from medpref.evaluation.facts.judges import judges
from medpref.evaluation.radiology import metrics
from medpref.pairs.sources import sources
from medpref.starts import backbones
from medpref.study.spec import StudySpec

PACKAGES: Mapping[str, str] = {"slurm": "submitit", "ray": "ray"}
"""The packages that executors ask for beside medpref's own."""


class Missing(NamedTuple):
    """Something that is not there.

    Attributes:
        what: a path, a package or a variable.
        wanted: what it is for, as a key of the study.
        vital: whether costs cannot be told without it.
    """

    what: str
    wanted: str
    vital: bool = False


def missing(study: StudySpec) -> list[Missing]:
    """Return what is not there of all that a run of the study would need."""
    return list(dict.fromkeys([*_data(study), *_models(study), *_packages(study), *_keys(study)]))


def paths_of(settings: BaseModel) -> Iterator[tuple[str, Path]]:
    """Yield the paths that settings name, by their keys."""
    for key in type(settings).model_fields:
        value = getattr(settings, key)
        if isinstance(value, Path):
            yield key, value


def _data(study: StudySpec) -> Iterator[Missing]:
    for name, part in study.data.parts().items():
        where = f"data.sets.{name}" if name else "data"
        for key, path in paths_of(sources[part.source].settings.model_validate(part.settings)):
            if not path.exists():
                yield Missing(str(path), f"{where}.{key}", vital=True)
    if study.reports is not None and study.reports.facts is not None and not study.reports.facts.exists():
        yield Missing(str(study.reports.facts), "reports.facts")


def _models(study: StudySpec) -> Iterator[Missing]:
    for spec in study.backbones:
        for key, path in paths_of(backbones[spec.family].settings.model_validate(spec.settings)):
            if not path.exists():
                yield Missing(str(path), f"backbones.{spec.name}.{key}", vital=True)
    if study.launch is not None and not study.launch.config.is_file():
        yield Missing(str(study.launch.config), "launch.config")


def _packages(study: StudySpec) -> Iterator[Missing]:
    wanted = {"executor.on": PACKAGES.get(study.executor.on)}
    if study.launch is not None and study.launch.config.is_file():
        said = yaml.safe_load(study.launch.config.read_text(encoding="utf-8"))
        if said.get("distributed_type") == "DEEPSPEED":
            wanted["launch.config"] = "deepspeed"
    if study.training.quantize:
        wanted["training.quantize"] = "bitsandbytes"
    # Metrics may have an interpreter of their own, whose packages cannot be seen from here.
    if study.reports is not None and study.reports.python is None:
        for name in study.reports.metrics:
            wanted[f"reports.metrics.{name}"] = metrics[name].package
    for key, package in wanted.items():
        if package is not None and find_spec(package) is None:
            yield Missing(f"the package {package}", key)
    submits = study.executor.on == "slurm" and study.executor.settings.get("cluster", "slurm") == "slurm"
    if submits and shutil.which("sbatch") is None:
        yield Missing("the command sbatch", "executor.on")


def _keys(study: StudySpec) -> Iterator[Missing]:
    """Yield the variables with keys of endpoints that are not set."""
    for key, settings in endpoints(study).items():
        variable = settings.key_variable
        if variable is not None and variable not in os.environ:
            yield Missing(f"the variable {variable}", f"{key}.key_variable")


def endpoints(study: StudySpec) -> dict[str, ConnectionSettings]:
    """Return all endpoints that a study names, by their keys."""
    found: dict[str, Any] = {"error_judge": study.error_judge}
    if study.reports is not None and study.reports.judge is not None:
        judge = study.reports.judge
        found["reports.judge"] = judges[judge.judge].settings.model_validate(judge.settings)
    for name, method in study.methods.items():
        for part, spec in method.mixture.items():
            for key, said, recipe in spec.recipes():
                place = f"methods.{name}.parts.{part}" if method.parts else f"methods.{name}"
                found[f"{place}.{key}"] = recipe.settings.model_validate(said.settings)
    return {key: settings for key, settings in found.items() if isinstance(settings, ConnectionSettings)}
