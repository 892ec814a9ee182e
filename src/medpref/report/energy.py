"""An estimate of the energy that a study took, with what it assumes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from medpref.report.wording import ABSENT, counted, duration

WATTS_PER_CORE = 10.0
"""A core's share of its processor's thermal design power: about 120 to 280 W over 16 to 32 cores."""
_MOST_CORES = 2
"""How many cores a study on a processor keeps busy: its stages share two threads."""


class Energy(NamedTuple):
    """An upper estimate.

    Attributes:
        watt_hours: the energy, None where it cannot be told.
        basis: from what it was estimated, in a sentence.
    """

    watt_hours: float | None
    basis: str


def estimate_energy(about: Mapping[str, Any]) -> Energy | None:
    """Return the energy of all stages of a run, as if they kept their devices busy all the time.

    Args:
        about: the content of run.json.

    Returns:
        None where the times of stages were not kept. A GPU counts with the limit of its power, which is left
        out where it is not known: then there is no number.
    """
    seconds = sum((about.get("stages") or {}).values())
    if not seconds:
        return None
    hardware = about.get("hardware") or {}
    cores = min(hardware.get("cores") or 1, _MOST_CORES)
    gpu, limit = hardware.get("gpu"), hardware.get("gpu_watts")
    if gpu and not limit:
        return Energy(None, f"The power of the GPU ({gpu}) was not told by its driver.")
    watts = cores * WATTS_PER_CORE + (limit or 0.0)
    beside = f" and {limit:.0f} W of the GPU, its limit" if limit else ""
    basis = (
        f"{duration(seconds)} of stages × ({counted(cores, 'core')} × {WATTS_PER_CORE:.0f} W{beside}), as if "
        "all were busy all the time. Not measured; memory, disks and cooling are not in it."
    )
    return Energy(seconds / 3600 * watts, basis)


def energy_text(energy: Energy) -> str:
    """Return an energy in Wh or kWh, to two digits: it is an estimate."""
    if energy.watt_hours is None:
        return ABSENT
    kilo = energy.watt_hours >= 1000
    rounded = float(f"{energy.watt_hours / (1000 if kilo else 1):.2g}")
    return f"about {rounded:g} {'kWh' if kilo else 'Wh'}"
