"""One backbone with one seed: where a study's methods begin."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medpref.study.datasets import Use


@dataclass(frozen=True, slots=True)
class Place:
    """One backbone with one seed: what its stages have in common.

    Attributes:
        name: ``BACKBONE/seed-SEED``.
        who: backbone and seed, as parameters.
        asked: the parameters of evaluations.
        data: for each use, the stages with its data by role.
        model: the name of the stage that makes the model that methods start from.
    """

    name: str
    who: Mapping[str, Any]
    asked: Mapping[str, Any]
    data: Mapping[Use, Mapping[str, str]]
    model: str
