"""Several processes learn what one does alone."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("run_processes.py")
SHARDED = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
}
ZERO = {
    "ACCELERATE_USE_DEEPSPEED": "true",
    "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "none",
    "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "none",
    "ACCELERATE_DEEPSPEED_ZERO3_INIT": "false",
    "ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL": "true",
    "DS_ACCELERATOR": "cpu",
}
CONFIGS = Path(__file__).parents[2] / "configs"
SETTINGS: dict[str, dict[str, Any]] = {
    # Fewer groups than processes, with an uneven number of pairs in each.
    "one group at a time": {"images_per_step": 1, "accumulate": 2},
    "evaluation": {"validation_share": 0.4, "evaluate_every": 1, "images_per_step": 2},
    "adapters": {"lora": {"r": 2}, "reference": "adapters-off", "gradient_checkpointing": True},
    "a budget": {"tokens_per_step": 150, "by_length": True},
}


def run(folder: Path, settings: dict[str, Any], processes: int, *, kill: int = 0, **environment: str) -> None:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    subprocess.run(
        [sys.executable, *(launch if processes > 1 else []), str(SCRIPT), str(folder), json.dumps(settings)]
        + ([str(kill)] if kill else []),
        check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", **environment},
    )


def log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]


def weights(folder: Path) -> torch.Tensor:
    tensors = load_file(folder / "model" / "model.safetensors")
    return torch.cat([tensors[name].flatten() for name in sorted(tensors)])


def check_same(one: Path, other: Path, distributed: str) -> None:
    assert json.loads((other / "told.json").read_text())["distributed"].endswith(distributed)
    assert len(log(one)) == len(log(other)) > 2
    for row, same in zip(log(one), log(other), strict=True):
        assert set(row) == set(same)
        # Before the first step policy and reference are equal, and rounding decides which is above the other.
        for key in row.keys() - {"rewards/accuracies"} if row["step"] == 1 else row:
            value = row[key]
            assert same[key] == pytest.approx(value, rel=1e-5, abs=1e-5), key
    difference = weights(one) - weights(other)
    assert difference.norm() <= 1e-5 * weights(one).norm()


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    settings = SETTINGS["one group at a time"]
    run(tmp_path / "one", settings, 1)
    run(tmp_path / "two", settings, 2)
    check_same(tmp_path / "one", tmp_path / "two", "MULTI_CPU")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["evaluation", "adapters", "a budget"])
@pytest.mark.parametrize("spread", [False, True])
def test_two_processes_with(tmp_path: Path, name: str, spread: bool) -> None:
    run(tmp_path / "one", SETTINGS[name], 1)
    run(tmp_path / "two", SETTINGS[name], 2, **(SHARDED if spread else {}))
    check_same(tmp_path / "one", tmp_path / "two", "FSDP" if spread else "MULTI_CPU")


@pytest.mark.slow
@pytest.mark.parametrize("spread", [False, True])
def test_two_processes_go_on_from_a_checkpoint(tmp_path: Path, spread: bool) -> None:
    environment = SHARDED if spread else {}
    run(tmp_path / "whole", {}, 2, **environment)
    run(tmp_path / "killed", {}, 2, kill=3, **environment)
    assert not (tmp_path / "killed" / "model").exists()
    run(tmp_path / "killed", {}, 2, **environment)
    for name in ("training.jsonl", "model/model.safetensors", "told.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed")
@pytest.mark.parametrize("stage", ["2", "3"])
@pytest.mark.parametrize("name", ["evaluation", "adapters"])
def test_two_processes_with_deepspeed(tmp_path: Path, stage: str, name: str) -> None:
    run(tmp_path / "one", SETTINGS[name], 1)
    run(tmp_path / "two", SETTINGS[name], 2, ACCELERATE_DEEPSPEED_ZERO_STAGE=stage, **ZERO)
    check_same(tmp_path / "one", tmp_path / "two", "DEEPSPEED")


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("ddp", "MULTI_GPU", {}),
        ("fsdp2", "FSDP", {"fsdp_version": 2, "fsdp_state_dict_type": "FULL_STATE_DICT"}),
        ("zero2", "DEEPSPEED", {"zero_stage": 2}),
        ("zero3", "DEEPSPEED", {"zero_stage": 3, "zero3_save_16bit_model": True}),
    ],
)
def test_accelerate_reads_our_configurations(name: str, kind: str, settings: dict[str, Any]) -> None:
    config = load_config_from_file(str(CONFIGS / f"{name}.yaml"))
    assert config.distributed_type.value == kind
    assert config.mixed_precision == "no"
    assert settings.items() <= {**config.fsdp_config, **config.deepspeed_config}.items()
    # The command in the comment names this very file.
    assert f"--config_file configs/{name}.yaml" in (CONFIGS / f"{name}.yaml").read_text()
