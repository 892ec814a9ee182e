"""What a study runs on, as far as the operating system tells."""

import os
import platform
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

GB = 1e9


def describe_machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """Return processor, cores, memory in GB, operating system and GPUs.

    Args:
        cpuinfo: where Linux names the processor.

    Returns:
        ``cpu``, ``cores``, ``memory_gb``, ``system``, ``gpu`` (names, or None) and, where the driver tells
        it, ``gpu_watts``: the sum of the GPUs' power limits.
    """
    count = torch.cuda.device_count()
    names = [torch.cuda.get_device_name(number) for number in range(count)]
    watts = _power_limit(count) if count else None
    return {
        "cpu": _processor(cpuinfo),
        "cores": os.cpu_count(),
        "memory_gb": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": ", ".join(names) or None,
        **({"gpu_watts": watts} if watts else {}),
    }


def _processor(cpuinfo: Path) -> str:
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, named), "") or platform.processor() or platform.machine()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _power_limit(count: int) -> float | None:
    """Return the sum of the power limits of the first GPUs in watts, None where NVML does not tell."""
    try:
        pynvml: Any = import_module("pynvml")
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(count)]
        return float(sum(pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) for handle in handles)) / 1000
    except Exception:
        # The package is not needed, and each driver refuses in its own way.
        return None
