"""Peak memory of one variant's training steps, in a process of its own.

Counted is what is resident above what the imported libraries take: models, gradients, the optimizer's state,
what the forward pass keeps and, where it is cached, the reference pass. On a GPU: what was allocated there.
"""

import json
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.bench import Bench, Setting
from benchmarks.variants import Variants

ROOT = Path(__file__).resolve().parents[1]
STATUS = Path("/proc/self/status")


def measure_memory(setting: Setting, variant: str, *, threads: int, steps: int = 2) -> float:
    """Return a variant's peak memory in bytes, measured in a fresh process.

    Raises:
        RuntimeError: the process failed; its last lines are told.
    """
    task = json.dumps({"setting": asdict(setting), "variant": variant, "threads": threads, "steps": steps})
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", task],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"measuring the memory of {variant} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def train_a_little(setting: Setting, variant: str, steps: int) -> float:
    """Make a variant, take some steps, return this process's peak memory in bytes above its libraries'."""
    before = _resident()
    with tempfile.TemporaryDirectory() as folder:
        # As when training begins: the policy is the reference.
        bench = Bench(setting, Path(folder), moved=False)
        made = Variants(bench).make(variant)
        bench.precision = "bf16" if bench.device.type == "cuda" else "fp32"
        for step in range(steps):
            made.trained.step(made.loss(step % len(bench.batches)))
    return float(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else _peak() - before


def _resident() -> float:
    return _status("VmRSS")


def _peak() -> float:
    # The kernel's own high-water mark; where there is no such file, the same in another unit.
    return _status("VmHWM") if STATUS.exists() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _status(key: str) -> float:
    """Return one memory figure of this process in bytes; 0 where the system does not tell."""
    if not STATUS.exists():
        return 0.0
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
    return float(line.split()[1]) * 1024


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    torch.set_num_threads(given["threads"])
    print(train_a_little(Setting(**given["setting"]), given["variant"], given["steps"]))
