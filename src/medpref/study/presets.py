"""Method presets: named methods that a study may use whole or override."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from medpref.registry import Registry

RECIPE_KEYS = ("rejected_response", "rejected_image", "weight")
"""The keys of a method that name a recipe, in the order in which recipes are applied."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A method by name.

    Attributes:
        summary: one line for listings.
        source: where it was published.
        method: what a study would say in its place.
    """

    summary: str
    source: str
    method: Mapping[str, Any]


@cache
def presets() -> Registry[Preset]:
    """Return the presets of ``methods.yaml``."""
    found: Registry[Preset] = Registry("method preset")
    for name, entry in yaml.safe_load((files("medpref") / "methods.yaml").read_text("utf-8")).items():
        method = {key: value for key, value in entry.items() if key not in ("summary", "source")}
        found.add(name, Preset(entry["summary"], entry["source"], method))
    return found


def with_preset(name: str, method: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a study says of the method `name`, put over the preset that it names.

    Args:
        name: the method's name in the study: also the preset's, where the study says neither that nor an
            objective.
        method: what the study says, its key ``method`` naming a preset; None for nothing.

    Raises:
        InputError: there is no such preset; the nearest is suggested.
    """
    said = dict(method or {})
    if not said or (name in presets() and not {"method", "objective", "parts"} & said.keys()):
        said["method"] = name
    if not isinstance(said.get("method"), str):
        return said
    return merge(presets()[said["method"]].method, said)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Put `over` over `base`, mapping by mapping; None takes a key away.

    Where another recipe or objective is named, the settings of the one in `base` go with it.
    """
    merged = dict(base)
    if "objective" in over and over["objective"] != base.get("objective"):
        merged.pop("settings", None)
    for key, value in over.items():
        old, new = whole_recipe(key, merged.get(key)), whole_recipe(key, value)
        if new is None:
            merged.pop(key, None)
        elif isinstance(old, Mapping) and isinstance(new, Mapping) and not _names_another(old, new):
            merged[key] = merge(old, new)
        else:
            merged[key] = new
    return merged


def _names_another(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return "recipe" in new and new["recipe"] != old.get("recipe")


def whole_recipe(key: str, value: Any) -> Any:
    """Let ``rejected_image: crop`` stand for ``rejected_image: {recipe: crop}``."""
    return {"recipe": value} if key in RECIPE_KEYS and isinstance(value, str) else value
