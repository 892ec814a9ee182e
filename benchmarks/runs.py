"""Whole runs of one and three epochs, caches built on the way included."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench, Setting
from benchmarks.ours import OURS
from benchmarks.timing import time_step
from benchmarks.variants import Variants, rivals

EPOCHS = (1, 3)


def time_runs(setting: Setting, folder: Path, *, report: Callable[[str], None]) -> list[dict[str, Any]]:
    """Time medpref's run against the first rival's, step beside step.

    medpref is measured from the reference pass to the last step of the last epoch. The rival has nothing to
    cache, and its steps cost the same in each epoch: its first epoch is measured, later ones are counted as
    that one. Its batches are collated beforehand, which is not counted.
    """
    bench = Bench(setting, folder, moved=False)
    bench.precision = "bf16" if bench.device.type == "cuda" else "fp32"
    variants = Variants(bench)
    name = rivals(setting.objective)[0]
    rival = variants.make(name)
    ours = variants.make(OURS, prepared=False)
    start = time.perf_counter()
    ours.prepare(bench.batches)
    caches = spent = time.perf_counter() - start
    report(f"caches {caches:.1f} s")
    theirs = 0.0
    totals: dict[int, float] = {}
    for epoch in range(1, max(EPOCHS) + 1):
        for number in range(len(bench.batches)):
            spent += time_step(bench, ours, number)
            theirs += time_step(bench, rival, number) if epoch == 1 else 0.0
        totals[epoch] = spent
        report(f"epoch {epoch}: {spent:.1f} s, {name} {theirs * epoch:.1f} s")
    return [
        {
            "objective": setting.objective,
            "shape": setting.shape,
            "training": setting.training,
            "size": setting.size,
            "pairs": sum(map(len, bench.batches)),
            "epochs": epochs,
            "against": name,
            "seconds": totals[epochs],
            "caches_seconds": caches,
            "rival_seconds": theirs * epochs,
            "rival_epochs_measured": 1,
            "speedup": theirs * epochs / totals[epochs],
        }
        for epochs in EPOCHS
    ]
