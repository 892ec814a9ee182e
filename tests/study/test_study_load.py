from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.study.conftest import TOY, toy, write_study

from medpref.errors import InputError
from medpref.study.load import bundled_studies, find_study, load_study
from medpref.study.presets import presets


def replaced(old: str, new: str) -> str:
    assert old in TOY
    return TOY.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (replaced("training: {steps", "training: {step"), 9, ["training.step", "'steps'"]),
        (replaced("train: 24", "trian: 24"), 4, ["trian", "'train'"]),
        (replaced("objective: mdpo", "objective: mdop"), 15, ["mdop", "'mdpo'"]),
        (replaced("steps: 6", "steps: six"), 8, ["sft.steps", "integer"]),
        (replaced("search:", "serach:"), 22, ["serach", "'search'"]),
        (replaced("task: phantom-vqa", "task: phantom-vqx"), 22, ["phantom-vqx", "'phantom-vqa'"]),
        (replaced("rejected_image: crop", "rejected_image: {recipe: crop, mots: 1}"), 15, ["mots", "'most'"]),
        (replaced("recipe: by-kind", "recipe: by-kin"), 20, ["by-kin", "'by-kind'"]),
        (replaced("images: 16", "imags: 16"), 7, ["imags", "'images'"]),
        (replaced("family: tiny-llava", "family: tiny-lava"), 6, ["tiny-lava", "'tiny-llava'"]),
        (replaced("learning_rate: 1.0e-4", "learning_rat: 1.0e-4"), 22, ["learning_rat", "'learning_rate'"]),
        (replaced("controls: [sft,", "controls: [stf,"), 21, ["stf", "'sft'"]),
        ("study: [x\n", 2, ["no YAML"]),
        ("- a\n- b\n", None, ["YAML mapping"]),
    ],
)
def test_a_mistake_is_named_with_its_line_and_the_nearest_name(
    tmp_path: Path, text: str, line: int | None, words: list[str]
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_study(path)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert (f"line {line}:" in message) if line else str(path) in message, message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": [1, 1]}, "seed is listed twice"),
        ({"methods": {"sft": {"objective": "sft"}}, "controls": ["sft"]}, "starting point"),
        ({"tasks": ["vqa-rad"]}, "has no task 'vqa-rad'"),
        (
            {"search": None, "methods": {"dpo": {"objective": "dpo", "candidates": [{}, {}]}}},
            "same number|need a search",
        ),
        ({"backbones": [toy()["backbones"][0]] * 2}, "same name"),
    ],
)
def test_a_study_that_contradicts_itself_is_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        load_study(
            write_study(
                tmp_path / "study.yaml",
                controls=["sft"],
                **{k: v for k, v in changes.items() if k != "controls"},
            )
        )


def test_methods_with_different_budgets_are_refused(tmp_path: Path) -> None:
    methods = {"dpo": {"objective": "dpo", "candidates": [{"beta": 0.1}]}, "copo": {"objective": "copo"}}
    with pytest.raises(InputError, match="same number of candidates"):
        load_study(write_study(tmp_path / "study.yaml", methods=methods, controls=["sft"]))


def test_a_candidate_may_set_training_and_objective(tmp_path: Path) -> None:
    candidates = [{"learning_rate": 1e-5, "beta": 0.5}]
    methods = {"dpo": {"objective": "dpo", "candidates": candidates, "training": {"freeze": ["tower"]}}}
    study = load_study(write_study(tmp_path / "study.yaml", methods=methods, controls=["sft"]))
    training, settings = study.resolve("dpo", study.candidates("dpo")[0])
    assert training.learning_rate == 1e-5
    assert training.freeze == ("tower",)
    assert training.steps == 4
    assert settings == {"pairs": {"beta": 0.5}}


def test_settings_can_be_replaced_from_the_command_line(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "study.yaml"), {"data.train": 7, "training.steps": 9})
    assert study.data.settings["train"] == 7
    assert study.training.steps == 9


def test_bundled_studies_are_sound() -> None:
    studies = {name: load_study(path) for name, path in bundled_studies().items()}
    assert {"phantom", "phantom-full", "vqa-rad"} <= set(studies)
    wanted = {"sft-continued", "dpo", "irpo", "copo", "mdpo", "mmedpo"}
    assert all(set(studies[name].methods) == wanted for name in ("phantom", "vqa-rad"))
    every = {"sft-continued", "targeted-sft", *(name for name, _ in presets().items())}
    assert set(studies["phantom-full"].methods) == every
    assert len(studies["phantom-full"].seeds) >= 3
    assert len(studies["phantom-full"].backbones) == 2


def test_an_unknown_study_suggests_a_bundled_one() -> None:
    with pytest.raises(InputError, match="'phantom'"):
        find_study("phantum")


def test_the_toy_study_is_plain_yaml() -> None:
    assert yaml.safe_load(TOY)["study"] == "toy"
