"""The benchmark itself, on a toy model: every variant is timed, and a wrong one is thrown out."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.bench import Setting, Trained
from benchmarks.memory import measure_memory
from benchmarks.ours import LADDER, OURS
from benchmarks.step import main
from benchmarks.timing import compare
from benchmarks.variants import STUDY, TRL, TRL_LABELS
from torch import Tensor, nn

TOY = ["--quick", "--size", "toy", "--no-memory"]


def test_a_quick_run_has_all_variants_and_they_agree(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    found = main([*TOY, "--only", "dpo", "run-dpo", "--json", str(file)])
    assert json.loads(file.read_text()) == found
    assert {"cpu", "cores", "torch", "date"} <= found["machine"].keys()
    rows = found["rows"]
    assert [row["variant"] for row in rows] == [TRL_LABELS, TRL, STUDY, *LADDER]
    assert not any(row["void"] for row in rows)
    # The policy has moved: at the start of training every loss is log 2, whatever is computed.
    assert abs(rows[0]["loss"] - math.log(2)) > 0.01
    assert all(row["seconds"] > 0 and row["speedup"] > 0 for row in rows)
    assert [run["epochs"] for run in found["runs"]] == [1, 3]
    first, last = found["runs"]
    assert first["caches_seconds"] < first["seconds"] < last["seconds"]


@pytest.mark.parametrize("name", ["mdpo", "copo", "mmedpo", "dpo-lora", "dpo-vqa", "dpo-checkpointing"])
def test_other_comparisons_agree(name: str) -> None:
    rows = main([*TOY, "--only", name])["rows"]
    assert rows[-1]["variant"] == OURS
    assert not any(row["void"] for row in rows)


@pytest.mark.slow
def test_memory_grows_with_the_batch() -> None:
    one, eight = (
        measure_memory(Setting(size="toy", shape=shape), OURS, threads=1) for shape in ("vqa", "captions")
    )
    assert 0 < one < eight


class Fake:
    """A variant whose loss is off by `error` nats, and its gradient by `slope` of itself."""

    def __init__(self, error: float, slope: float = 0.0) -> None:
        self.name = "fake"
        self.weight = nn.Parameter(torch.ones(3))
        self.error, self.slope = error, slope
        model = nn.Module()
        model.weight = self.weight
        self.trained = Trained(model, checkpointing=False)

    def prepare(self, batches: Sequence[Any]) -> None:
        """Nothing to prepare."""

    def loss(self, number: int) -> Tensor:
        total = self.weight.sum() / 3
        return total + self.slope * (total - total.detach()) + self.error * (number == 1)


def test_a_variant_that_computes_something_else_is_void() -> None:
    same, other_loss, other_gradient = compare([Fake(0.0), Fake(2e-5), Fake(0.0, 1e-3)], batches=2)
    assert same.agrees
    assert other_loss.loss_difference == pytest.approx(2e-5, rel=0.05)
    assert not other_loss.agrees
    assert other_gradient.gradient_difference == pytest.approx(1e-3, rel=0.01)
    assert not other_gradient.agrees
