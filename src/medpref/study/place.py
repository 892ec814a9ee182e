"""One backbone with one seed: where a study's methods begin."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Place:
    """One backbone with one seed: what its stages have in common.

    Attributes:
        name: ``BACKBONE/seed-SEED``.
        who: backbone and seed, as parameters.
        asked: the parameters of evaluations.
        data: the name of the stage with its data.
        model: the name of the stage that makes the model that methods start from.
    """

    name: str
    who: Mapping[str, Any]
    asked: Mapping[str, Any]
    data: str
    model: str
