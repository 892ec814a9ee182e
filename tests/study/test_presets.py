from pathlib import Path
from typing import Any

import pytest
from tests.study.conftest import write_study

from medpref.errors import InputError
from medpref.objectives import objectives
from medpref.scoring.cells import Cell
from medpref.study.load import load_study
from medpref.study.method import MethodSpec
from medpref.study.presets import merge, presets

NINE = {
    "dpo-llm": ("dpo", "llm", None, None),
    "dpo-self": ("dpo", "self", None, None),
    "dpo-noised": ("dpo", "self-noised", None, None),
    "irpo": ("irpo", "llm", None, None),
    "copo-crop": ("copo", None, "crop", None),
    "copo-noise": ("copo", None, "noise", None),
    "copo-roi": ("copo", None, "roi-noise", None),
    "mdpo": ("mdpo", "llm", "crop", None),
    "mmedpo": ("mmedpo", "llm", "roi-noise", "given"),
}


def method(tmp_path: Path, name: str, said: Any) -> MethodSpec:
    study = write_study(tmp_path / "study.yaml", methods={name: said}, controls=["sft"])
    return load_study(study).methods[name]


def recipe_names(spec: Any) -> tuple[str | None, ...]:
    said = (spec.rejected_response, spec.rejected_image, spec.weight)
    return tuple(recipe.recipe if recipe else None for recipe in said)


@pytest.mark.parametrize("name", list(NINE))
def test_the_nine_formulations(tmp_path: Path, name: str) -> None:
    spec = method(tmp_path, name, None)
    assert (spec.objective, *recipe_names(spec)) == NINE[name]
    assert spec.method == name


def test_the_targeted_strategy_and_its_ablations(tmp_path: Path) -> None:
    parts = method(tmp_path, "targeted", None).mixture
    assert {name: (part.objective, *recipe_names(part)) for name, part in parts.items()} == {
        "text": ("dpo", "targeted", None, None),
        "image": ("copo", "targeted", "roi-noise", None),
    }
    for part in ("text", "image"):
        (alone,) = method(tmp_path, f"targeted-{part}", None).mixture.values()
        assert alone == parts[part]


def test_every_preset_is_sound_and_makes_what_its_cells_need() -> None:
    names = [name for name, _ in presets().items()]
    assert names == [*NINE, "targeted", "targeted-text", "targeted-image"]
    for name, preset in presets().items():
        assert preset.source.startswith("arXiv:")
        assert len(preset.summary) > 10
        for part in MethodSpec.model_validate(preset.method).mixture.values():
            part.check()
            entry = objectives[part.objective]
            needed = {Cell.CLEAN_REJECTED, Cell.REJECTED_REJECTED} & set(entry.cells)
            assert bool(part.rejected_response) or not needed, name
            needed = {Cell.REJECTED_CHOSEN, Cell.REJECTED_REJECTED} & set(entry.cells)
            assert bool(part.rejected_image) == bool(needed), name
            assert bool(part.weight) == entry.needs_weight, name


def test_a_preset_by_another_name_with_overrides(tmp_path: Path) -> None:
    said = {
        "method": "mdpo",
        "settings": {"beta": 0.3},
        "rejected_image": {"most": 0.5},
        "training": {"steps": 9},
    }
    spec = method(tmp_path, "mine", said)
    assert (spec.objective, *recipe_names(spec)) == NINE["mdpo"]
    assert spec.settings == {"beta": 0.3}
    assert spec.rejected_image is not None
    assert spec.rejected_image.settings == {"most": 0.5}
    assert spec.training == {"steps": 9}


def test_a_method_named_like_a_preset_needs_no_more_than_the_difference(tmp_path: Path) -> None:
    spec = method(tmp_path, "dpo-llm", {"rejected_response": "other-answer"})
    assert (spec.objective, *recipe_names(spec)) == ("dpo", "other-answer", None, None)


def test_a_part_of_a_mixture_can_be_overridden_or_taken_away(tmp_path: Path) -> None:
    parts = {"text": {"rejected_response": "other-answer", "share": 3}, "image": None}
    (part,) = method(tmp_path, "mine", {"method": "targeted", "parts": parts}).mixture.values()
    assert (part.objective, part.share, *recipe_names(part)) == ("dpo", 3, "other-answer", None, None)


def test_a_preset_can_be_overridden_from_the_command_line(tmp_path: Path) -> None:
    path = write_study(tmp_path / "study.yaml", methods={"copo-roi": None}, controls=["sft"])
    study = load_study(path, {"methods.copo-roi.settings.beta": 0.7, "methods.copo-roi.training.steps": 3})
    spec = study.methods["copo-roi"]
    assert (spec.objective, *recipe_names(spec)) == NINE["copo-roi"]
    assert spec.settings == {"beta": 0.7}
    assert study.resolve("copo-roi", {})[0].steps == 3


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"method": "copo-rio"}, ["line ", "copo-rio", "'copo-roi'"]),
        (None, ["no method preset called 'mine'"]),
        ({}, ["no method preset called 'mine'"]),
        ({"training": {"steps": 3}}, ["needs an objective, or parts, or the name of a preset"]),
        ({"method": "mdpo", "seting": 1}, ["seting", "'settings'"]),
        ({"method": "targeted", "objective": "dpo"}, ["parts or its own objective"]),
        ({"method": "targeted", "weight": "given"}, ["parts or its own weight"]),
        ({"parts": {"a/b": {"objective": "dpo"}}}, ["methods.mine.parts.a/b"]),
        ({"parts": {"a": {"objective": "dpoo"}}}, ["no objective called 'dpoo'", "'dpo'"]),
        ({"parts": {"a": {"objective": "dpo", "rejected_image": "corp"}}}, ["'corp'", "'crop'"]),
        ({"parts": {"a": {"objective": "dpo", "settings": {"bta": 1}}}}, ["'bta'", "'beta'"]),
        ({"parts": {"a": {"objective": "dpo", "share": 0}}}, ["greater than 0"]),
        ({"method": "mdpo", "candidates": [{"betta": 1}]}, ["unknown setting 'betta'", "'beta'"]),
    ],
)
def test_a_wrong_method_is_named(tmp_path: Path, said: Any, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        method(tmp_path, "mine", said)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_settings_go_with_what_they_belong_to() -> None:
    base = {
        "objective": "irpo",
        "settings": {"alpha": 0.5},
        "rejected_image": {"recipe": "crop", "most": 0.5},
        "weight": "given",
    }
    assert merge(base, {"rejected_image": "noise"})["rejected_image"] == {"recipe": "noise"}
    assert merge(base, {"rejected_image": {"recipe": "crop", "least": 0.1}})["rejected_image"] == {
        "recipe": "crop",
        "most": 0.5,
        "least": 0.1,
    }
    assert "settings" not in merge(base, {"objective": "dpo"})
    assert merge(base, {"objective": "irpo"})["settings"] == {"alpha": 0.5}
    assert "weight" not in merge(base, {"weight": None})
    assert merge(base, {"weight": {"normalise": "raw"}})["weight"] == {"recipe": "given", "normalise": "raw"}
    assert base["rejected_image"] == {"recipe": "crop", "most": 0.5}
