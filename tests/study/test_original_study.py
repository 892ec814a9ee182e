"""Both original layouts through a whole study: every preset is trained for an epoch, all models answer."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.conversion.checkpoints import original_checkpoint
from tests.study.conftest import write_study

from medpref.conversion.convert import convert_checkpoint
from medpref.files import read_json
from medpref.study.load import load_study
from medpref.study.presets import presets
from medpref.study.run import run_study

STAND_IN = "other-answer"
WEIGHTS = {"recipe": "by-kind", "kinds": {"presence": 1.0, "side": 0.8}}


def every_preset() -> dict[str, Any]:
    """All presets; on phantoms nobody has written responses or weighed pairs."""
    said: dict[str, Any] = {}
    for name, preset in presets().items():
        changes: dict[str, Any] = {}
        if preset.method.get("rejected_response") == "llm":
            changes["rejected_response"] = STAND_IN
        if preset.method.get("weight") == "given":
            changes["weight"] = WEIGHTS
        if name in ("dpo-self", "dpo-noised"):
            changes["rejected_response"] = {"max_new_tokens": 8, "samples": 2}
        said[name] = changes or None
    return said


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "converted"), [("llava_mistral", True), ("llava_qwen2", False)])
def test_every_preset_is_trained_and_answers(kind: str, converted: bool, tmp_path: Path) -> None:
    source = tmp_path / "original"
    original_checkpoint(source, kind, max_position_embeddings=1024)
    folder = tmp_path / "plain" if converted else source
    if converted:
        convert_checkpoint(source, folder)
    backbone = {"name": "medical", "family": "pretrained", "path": str(folder), "max_length": 768}
    methods = every_preset()
    study = write_study(
        tmp_path / "study.yaml",
        backbones=[backbone],
        # 16 images in groups of 4: 4 steps are an epoch.
        data={"source": "phantoms", "size": 32, "train": 16, "pool": 16, "validation": 2, "test": 4},
        methods=methods,
        controls=["sft"],
        search={"task": "phantom-vqa", "candidates": [{"learning_rate": 1e-3}]},
    )
    run_study(load_study(study), tmp_path / "run", Console(quiet=True))
    table = read_json(tmp_path / "run" / "results.json")
    for name in methods:
        assert f'"{name}"' in json.dumps(table)
        (log,) = (tmp_path / "run").rglob(f"{name}/*/training.jsonl")
        assert json.loads(log.read_text().splitlines()[-1])["step"] == 4
