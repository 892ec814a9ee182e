"""Checks of the machine: versions, devices, memory, disk, and what is installed beside."""

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from packaging.requirements import Requirement

from medpref import __version__
from medpref.doctor.check import Finding

# package → what it is for; none of them is needed for a study on image files.
OPTIONAL = {
    "pydicom": "DICOM images",
    "nibabel": "NIfTI volumes",
    "bitsandbytes": "training over weights in 4 bits",
    "deepspeed": "ZeRO",
    "vllm": "generation with vLLM",
    "tensorboard": "the tracker tensorboard",
    "submitit": "jobs of SLURM",
    "ray": "tasks of a Ray cluster",
}
GB = 1e9


def versions() -> Iterator[Finding]:
    """Compare the versions of what medpref needs with what it asks for."""
    told = f"Python {platform.python_version()}, torch {torch.__version__}"
    yield Finding("medpref", "ok", f"{__version__} on {told}")
    for line in importlib.metadata.requires("medpref") or []:
        needed = Requirement(line)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(needed.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(needed.name, "fail", "not installed", f"pip install '{line}'")
            continue
        if not needed.specifier.contains(found, prereleases=True):
            yield Finding(
                needed.name, "fail", f"{found}, and {needed.specifier} is needed", f"pip install '{line}'"
            )
        elif needed.name in ("transformers", "accelerate", "peft"):
            yield Finding(needed.name, "ok", found)


def optional_packages() -> Iterator[Finding]:
    """Tell which optional packages are there."""
    there = [name for name in OPTIONAL if find_spec(name) is not None]
    missing = [f"{name} ({purpose})" for name, purpose in OPTIONAL.items() if name not in there]
    yield Finding("optional", "ok", f"installed: {', '.join(there) or 'none'}; not: {', '.join(missing)}")


def broken_torchvision() -> Iterator[Finding]:
    """Find a torchvision that does not belong to this torch: it breaks the import of image processors."""
    if find_spec("torchvision") is None:
        return
    try:
        import_module("torchvision")
    except Exception as error:
        yield Finding(
            "torchvision",
            "fail",
            f"installed, but its import fails: {error}",
            "pip uninstall torchvision (medpref does without), or install the one made for this torch.",
        )


def devices() -> Iterator[Finding]:
    """Tell the GPUs with their memory, or the CPU."""
    for number in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(number)
        halves = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        yield Finding(f"cuda:{number}", "ok", f"{found.name}, {found.total_memory / GB:.0f} GB, {halves}")
    if not torch.cuda.device_count():
        told = f"no GPU; {os.cpu_count()} CPU cores, {torch.get_num_threads()} threads"
        yield Finding("device", "note", told, "A model of billions of weights needs a GPU.")


def device_memory() -> float:
    """Return the memory that a model on this machine has, in bytes: of the largest GPU, or of the machine."""
    if torch.cuda.device_count():
        sizes = (torch.cuda.get_device_properties(n).total_memory for n in range(torch.cuda.device_count()))
        return float(max(sizes))
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def disk(folder: Path) -> Iterator[Finding]:
    """Tell how much room there is where a run would be written."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if not os.access(place, os.W_OK):
        yield Finding("disk", "fail", "the folder cannot be written", "Name another folder with --out.")
        return
    told = f"{free / GB:.0f} GB free"
    if free > 10 * GB:
        yield Finding("disk", "ok", told)
    else:
        yield Finding("disk", "note", told, "Checkpoints of large models need more.")
