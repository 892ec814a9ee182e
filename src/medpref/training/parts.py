"""What a run trains on: one or several pair sets, each with its objective."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from medpref.objectives.base import Objective
from medpref.pairs.pair import Pair
from medpref.training.reference import ReferenceLogps


@dataclass(frozen=True, slots=True)
class TrainingPart:
    """Pairs with the objective that they train.

    Attributes:
        pairs: what to train on.
        objective: names the cells and gives the loss.
        settings: keyword arguments of the loss.
        reference: log-probs of the starting weights, where the objective needs them.
        share: how much of the training this part is, relative to the other parts' shares.
        name: what the part is called in logs and messages.
    """

    pairs: Sequence[Pair]
    objective: Objective
    settings: Mapping[str, float] = field(default_factory=dict)
    reference: ReferenceLogps | None = None
    share: float = 1.0
    name: str = "pairs"
