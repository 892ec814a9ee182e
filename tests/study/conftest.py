from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from medpref.study.load import load_study
from medpref.study.run import run_study

TOY = """
study: toy
title: A toy
data: {source: phantoms, size: 32, train: 24, pool: 16, validation: 6, test: 8}
backbones:
  - {name: tiny, family: tiny-llava, image_size: 32, width: 32, heads: 2, key_value_heads: 1,
     vision_layers: 1, text_layers: 1, warmup: {images: 16, steps: 4, batch: 4, checkpoint_every: 2}}
sft: {steps: 6, images_per_step: 4, checkpoint_every: 2, log_every: 2}
training: {steps: 4, images_per_step: 4, checkpoint_every: 2, log_every: 2}
methods:
  sft-continued: {objective: sft}
  dpo: {objective: dpo, rejected_response: other-answer}
  irpo: {objective: irpo, rejected_response: other-answer}
  copo: {objective: copo, rejected_image: roi-noise}
  mdpo: {objective: mdpo, rejected_response: other-answer, rejected_image: crop}
  mmedpo:
    objective: mmedpo
    rejected_response: other-answer
    rejected_image: noise
    weight: {recipe: by-kind, kinds: {presence: 1.0}}
controls: [sft, sft-continued]
search: {task: phantom-vqa, candidates: [{learning_rate: 1.0e-4}, {learning_rate: 1.0e-3}]}
tasks: [phantom-vqa, phantom-caption]
generation_batch: 16
workers: 1
"""


def toy(**changes: Any) -> dict[str, Any]:
    """Return the toy study with some of its keys replaced; None takes a key away."""
    study: dict[str, Any] = yaml.safe_load(TOY)
    study.update(changes)
    return {key: value for key, value in study.items() if value is not None}


def write_study(path: Path, **changes: Any) -> Path:
    path.write_text(yaml.safe_dump(toy(**changes), sort_keys=False))
    return path


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy study that was run to its results, once for all tests that only look."""
    folder = tmp_path_factory.mktemp("toy")
    run_study(load_study(write_study(folder / "toy.yaml")), folder / "run", Console(quiet=True))
    return folder / "run"
