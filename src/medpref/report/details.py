"""What was run, on what, and how long it took: the parts of the page that need no computing."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import yaml

from medpref.report.costs import setting
from medpref.report.layout import Layout, Role
from medpref.report.load import RunFolder
from medpref.report.tables import ScoreTable
from medpref.report.wording import counted, joined

_RECIPES = ("rejected_response", "rejected_image", "weight")
_MOST_STAGES = 60


class MethodLine(NamedTuple):
    """One method of the study: its objectives, its settings and the recipes of its pairs."""

    method: str
    objective: str
    settings: str
    recipes: str


class StageLine(NamedTuple):
    """One stage: how long it took, and its share of the slowest one's time."""

    name: str
    seconds: float
    share: float


def subject(run: RunFolder, tables: Sequence[ScoreTable], layout: Layout) -> str:
    """Say what was compared, and on what."""
    contenders = [name for name in layout.methods if layout.role(name) is Role.METHOD]
    seeds = {log.header.seed for log in run.logs if log.header.model is not None}
    parts = [counted(len(contenders), "method")]
    if layout.controls:
        parts.append(f"{counted(len(layout.controls), 'control')} ({joined(layout.controls)})")
    place = [f"{counted(len(layout.backbones), 'backbone')} ({joined(layout.backbones)})"]
    if seeds:
        place.append(counted(len(seeds), "seed"))
    asked = {}
    for log in run.logs:
        images = {image for record in log.records for image in record.images}
        asked[log.header.task] = (
            f"{log.header.task} ({log.header.split}): {counted(len(log.records), 'question')} "
            f"on {counted(len(images), 'image')}"
        )
    tasks = [asked[task] for task in dict.fromkeys(t.headline.task for t in tables) if task in asked]
    return f"{' and '.join(parts)} on {joined(place)}. " + " ".join(f"{text}." for text in tasks)


def method_lines(study: Mapping[str, Any]) -> list[MethodLine]:
    """Return one line for each method of the study."""
    return [
        MethodLine(
            name,
            " + ".join(dict.fromkeys(str(part.get("objective") or "") for part in _parts(spec).values())),
            _listed({**_own_settings(spec), **(spec.get("training") or {})}),
            "; ".join(filter(None, (_pairs(key, part) for key, part in _parts(spec).items()))),
        )
        for name, spec in (study.get("methods") or {}).items()
    ]


def _parts(method: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return what a method trains on, by name; a method with one objective is one part without a name."""
    return method.get("parts") or {"": method}


def _own_settings(method: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a method's objectives, and the shares of a mixture's parts."""
    found = {}
    for name, part in _parts(method).items():
        before = f"{name}." if name else ""
        found.update({f"{before}{key}": value for key, value in (part.get("settings") or {}).items()})
        if name and part.get("share", 1) != 1:
            found[f"{before}share"] = part["share"]
    return found


def _pairs(name: str, part: Mapping[str, Any]) -> str:
    """Say which pairs a part trains on, and how they are made."""
    said = [_recipe(key, part[key]) for key in _RECIPES if part.get(key)]
    if part.get("kinds"):
        said.append(f"kinds: {', '.join(part['kinds'])}")
    return f"{name} ({'; '.join(said) or 'as the data gives them'})" if name else "; ".join(said)


def _recipe(part: str, spec: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in spec.items() if key != "recipe"}
    name = f"{part.replace('_', ' ')}: {spec.get('recipe')}"
    return f"{name} ({_listed(rest)})" if rest else name


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {setting(value)}" for key, value in settings.items())


def stage_lines(stages: Mapping[str, float]) -> list[StageLine]:
    """Return the stages, the slowest first."""
    ordered = sorted(stages.items(), key=lambda item: (-item[1], item[0]))[:_MOST_STAGES]
    longest = max([seconds for _, seconds in ordered] or [0.0]) or 1.0
    return [StageLine(name, seconds, seconds / longest) for name, seconds in ordered]


def study_text(study: Mapping[str, Any]) -> str:
    """Return the study as YAML, whole paths shortened to their last part: a page is made to be passed on."""
    return yaml.safe_dump(without_places(study), sort_keys=False, allow_unicode=True) if study else ""


def without_places(value: Any) -> Any:
    """Return a value whose absolute paths are cut to their last part, behind an ellipsis."""
    if isinstance(value, Mapping):
        return {key: without_places(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(inner) for inner in value]
    if isinstance(value, str):
        for path in (PurePosixPath(value), PureWindowsPath(value)):
            if path.is_absolute():
                return f"…/{path.name}"
    return value
