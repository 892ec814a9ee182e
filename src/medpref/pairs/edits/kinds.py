"""The kinds of errors, and which of MedHEval's they are."""

from collections.abc import Mapping

MEDHEVAL_KINDS: Mapping[str, str] = {
    "modality": "technique",
    "plane": "technique",
    "organ": "anatomical",
    "side": "anatomical",
    "vertical": "anatomical",
    "zone": "anatomical",
    "presence": "symptom",
    "finding": "symptom",
    "count": "measurement",
    "size": "measurement",
    "measurement": "measurement",
    "intensity": "symptom",
    "colour": "symptom",
    "shape": "symptom",
    "severity": "symptom",
    "device": "symptom",
    "tip": "anatomical",
}
"""Error kind → kind of visual misinterpretation in MedHEval (arXiv:2503.02157).

MedHEval tells anatomical, measurement, symptom and technique errors apart. Where its wording leaves room,
what a finding looks like counts as a symptom, and where something lies as anatomical.
"""

ERROR_KINDS: tuple[str, ...] = tuple(MEDHEVAL_KINDS)
"""All error kinds."""


def error_kinds(names: tuple[str, ...]) -> frozenset[str]:
    """Return the error kinds among `names`; one of MedHEval's stands for all its error kinds."""
    return frozenset(kind for kind, broad in MEDHEVAL_KINDS.items() if kind in names or broad in names)
