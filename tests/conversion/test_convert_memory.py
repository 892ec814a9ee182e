"""A conversion needs little memory, however large the checkpoint."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conversion.checkpoints import original_checkpoint

ROWS = 1_200_000
"""Of 32 numbers in fp32 each, twice: 307 MB."""
MEASURED = """
import resource, sys
from pathlib import Path
from medpref.conversion import convert_checkpoint, restore_original
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
small, large, out = map(Path, sys.argv[1:])
# What the libraries take is there before the measured run.
convert_checkpoint(small, out / "small")
restore_original(out / "small", out / "small-back")
before = peak()
convert_checkpoint(large, out / "large", shard_bytes=10**8)
print(peak() - before)
restore_original(out / "large", out / "large-back", shard_bytes=10**8)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_peak_memory_does_not_grow_with_the_checkpoint(tmp_path: Path, suffix: str) -> None:
    original_checkpoint(tmp_path / "small", "llava_qwen2", suffix=suffix)
    _, tensors = original_checkpoint(tmp_path / "large", "llava_qwen2", suffix=suffix, vocab_size=ROWS)
    total = sum(tensor.nbytes for tensor in tensors.values())
    largest = max(tensor.nbytes for tensor in tensors.values())
    assert total > 300e6
    (tmp_path / "out").mkdir()
    run = subprocess.run(
        [sys.executable, "-c", MEASURED, *(str(tmp_path / name) for name in ("small", "large", "out"))],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    there, back = map(int, run.stdout.split())
    # Read in pieces of 16 MiB; what is mapped of PyTorch's files counts as memory while it is read.
    assert there < 100e6 + (largest if suffix == "bin" else 0), (there, total)
    assert back < 100e6 + (largest if suffix == "bin" else 0), (back, total)
