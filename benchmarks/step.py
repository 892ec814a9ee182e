"""Time whole optimizer steps of medpref against TRL and the study's scheme: ``python benchmarks/step.py``.

All variants start from the same random weights and get the same ids and pixels. A row counts only where its
loss agrees with the rival's to 1e-5. See `--help` for the options; `--quick` ends within a minute and is too
small to quote. Keep the machine quiet: two threads that share a core with others lose most of their time.
"""

import argparse
import json
import os
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

# Before anything imports transformers.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from datasets import disable_progress_bars

from benchmarks import table
from benchmarks.bench import Bench, Setting
from benchmarks.data import describe
from benchmarks.flops import estimate
from benchmarks.machine import describe_machine
from benchmarks.memory import measure_memory
from benchmarks.ours import OURS
from benchmarks.runs import time_runs
from benchmarks.timing import compare, time_steps
from benchmarks.variants import Variants, names

# What is compared, by the name that --only takes; the first one with every step of the ablation.
COMPARISONS = {
    "dpo": Setting(),
    "dpo-lora": Setting(training="lora"),
    "dpo-checkpointing": Setting(checkpointing=True),
    "dpo-vqa": Setting(shape="vqa"),
    "mdpo": Setting(objective="mdpo"),
    "copo": Setting(objective="copo"),
    "mmedpo": Setting(objective="mmedpo"),
}
RUNS = {"run-dpo": Setting(batches=8), "run-dpo-vqa": Setting(shape="vqa", batches=4)}
QUICK = ("dpo", "mdpo", "run-dpo")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print the tables, write the JSON file, and return what stands in it."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", FutureWarning)
    disable_progress_bars()
    wanted = options.only or (QUICK if options.quick else [*COMPARISONS, *RUNS])
    size = options.size or ("quick" if options.quick else "P")
    repeats = options.repeats or (1 if options.quick else 5)
    found: dict[str, Any] = {"machine": describe_machine(options.threads), "rows": [], "runs": []}
    found["flops_7b"] = estimate()
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            if name in COMPARISONS:
                setting = replace(COMPARISONS[name], size=size)
                rows = _steps(name, setting, Path(folder), repeats, options)
                found["rows"] += rows
            else:
                setting = replace(RUNS[name], size=size, batches=2 if options.quick else RUNS[name].batches)
                found["runs"] += time_runs(setting, Path(folder), report=_tell)
    print("\nWhole runs\n\n" + table.markdown(table.RUNS, found["runs"]))
    print("\nBy operations at 7B\n\n" + table.markdown(table.FLOPS, found["flops_7b"]))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return found


def _steps(
    name: str, setting: Setting, folder: Path, repeats: int, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Compare and time all variants of one setting; print and return their rows."""
    _tell(f"{name}: {setting.objective}, {setting.training}, {setting.shape}, size {setting.size}")
    bench = Bench(setting, folder)
    makers = Variants(bench)
    variants = [makers.make(each) for each in names(setting.objective, ablation=name == "dpo")]
    agreements = compare(variants, len(bench.batches))
    bench.precision = "bf16" if bench.device.type == "cuda" else "fp32"
    timings = time_steps(bench, variants, repeats=repeats, report=_tell)
    labels = [variant.name for variant in variants]
    memory = {} if options.no_memory else _memory(setting, labels, options)
    base = memory.get(labels[0])
    rows = [
        {
            "comparison": name,
            "variant": label,
            "objective": setting.objective,
            "training": setting.training,
            "shape": setting.shape,
            "size": setting.size,
            "checkpointing": setting.checkpointing,
            **describe(bench.batches, bench.inputs),
            "against": labels[0],
            "loss": agreement.loss,
            "loss_difference": agreement.loss_difference,
            "gradient_norm": agreement.gradient_norm,
            "gradient_difference": agreement.gradient_difference,
            "void": not agreement.agrees,
            "verdict": "" if agreement.agrees else "VOID",
            "seconds": timing.seconds,
            "seconds_min": timing.least,
            "seconds_max": timing.most,
            "speedup": timing.speedup if agreement.agrees else None,
            "memory_mb": memory[label] / 1e6 if label in memory else None,
            "memory_ratio": memory[label] / base if base and label in memory else None,
        }
        for label, agreement, timing in zip(labels, agreements, timings, strict=True)
    ]
    print(f"\n{name}\n\n{table.markdown(table.STEPS, rows)}\n", flush=True)
    return rows


def _memory(setting: Setting, labels: list[str], options: argparse.Namespace) -> dict[str, float]:
    """Return peak memory in bytes by variant; in a quick run of the first rival and of all savings only."""
    wanted = [labels[0], OURS] if options.quick else labels
    workers = 1 if torch.cuda.is_available() else max(1, (os.cpu_count() or 1) // options.threads)
    with ThreadPoolExecutor(workers) as pool:
        tasks = [pool.submit(measure_memory, setting, label, threads=options.threads) for label in wanted]
        return {label: task.result() for label, task in zip(wanted, tasks, strict=True)}


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time optimizer steps against TRL and the study's scheme.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--quick", action="store_true", help="a small model and one repeat: under a minute")
    parser.add_argument("--repeats", type=int, metavar="N", help="steps of each variant (5; quick: 1)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each process (1)")
    parser.add_argument("--size", choices=["P", "quick", "toy"], help="of the model (P; quick: quick)")
    parser.add_argument("--no-memory", action="store_true", help="leave the memory out")
    parser.add_argument(
        "--only", nargs="+", choices=[*COMPARISONS, *RUNS], metavar="NAME", help="compare these alone"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
