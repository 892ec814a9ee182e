"""What an objective is, and where objectives are registered."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from medpref.errors import InputError, did_you_mean
from medpref.registry import Registry
from medpref.scoring.cells import Cell

PairValues = Float[Tensor, " pairs"]
TokenValues = Float[Tensor, "pairs tokens"]
TokenTables = Mapping[Cell, Float[Tensor, "pairs _"]]
"""For each cell a table of pairs × tokens: as wide as the cell's longest response."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What an objective may read of a batch of pairs.

    Attributes:
        logps: for each cell, log π(y|i, x) summed over the response tokens, in nats.
        reference: the same under the reference model; empty for objectives that need none.
        lengths: for each cell, the number of response tokens.
        weight: the pairs' weights; None for objectives that need none.
        tokens: for each cell, the log-prob of each response token, in nats, zero behind a response's end;
            empty for objectives that need none.
        reference_tokens: the same under the reference model.
    """

    logps: Mapping[Cell, PairValues]
    reference: Mapping[Cell, PairValues]
    lengths: Mapping[Cell, Int[Tensor, " pairs"]]
    weight: PairValues | None = None
    tokens: TokenTables = field(default_factory=dict)
    reference_tokens: TokenTables = field(default_factory=dict)

    def delta(self, cell: Cell) -> PairValues:
        """Return Δ(i, y) = log π(y|i, x) − log π_ref(y|i, x), in nats; β times it is the implicit reward."""
        return self.logps[cell] - self.reference[cell]

    def token_logps(self, cell: Cell) -> TokenValues:
        """Return log π of each response token, in nats, zero behind a response's end.

        Raises:
            InputError: the objective did not declare that it reads tokens.
        """
        return _declared(self.tokens, cell)

    def token_delta(self, cell: Cell) -> TokenValues:
        """Return log π − log π_ref of each response token, in nats, zero behind a response's end.

        Raises:
            InputError: the objective did not declare that it reads tokens, or has no reference.
        """
        return self.token_logps(cell) - _declared(self.reference_tokens, cell)

    def pair_weight(self) -> PairValues:
        """Return the pairs' weights.

        Raises:
            InputError: there are none; silently weighing all alike would be another objective.
        """
        if self.weight is None:
            raise InputError(
                "this objective weighs its pairs, and the pairs have no weight",
                remedy="Give every pair a weight, or name a weight recipe in the method.",
            )
        return self.weight


def _declared(tokens: TokenTables, cell: Cell) -> TokenValues:
    if cell not in tokens:
        raise InputError(
            f"this objective reads the tokens of {cell.key}, which it did not declare",
            remedy="Register it with @objective(…, tokens=True), naming the cell.",
        )
    return tokens[cell]


LossFunction = Callable[..., PairValues]


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss with what it needs.

    Attributes:
        name: as in a study.
        cells: what has to be scored for each pair.
        loss: ``loss(scores, **settings)`` returns one loss for each pair, in nats.
        needs_reference: whether the cells are also scored under the reference model.
        needs_weight: whether every pair must have a weight.
        needs_tokens: whether the loss reads single tokens' log-probs, not only their sums.
    """

    name: str
    cells: tuple[Cell, ...]
    loss: LossFunction
    needs_reference: bool = True
    needs_weight: bool = False
    needs_tokens: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """The settings and their defaults, read off the loss's keyword arguments."""
        parameters = inspect.signature(self.loss).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    def check_settings(self, given: Mapping[str, Any], where: str) -> None:
        """Check that `given` names only settings that the loss has, with numbers for values.

        Raises:
            InputError: a key is unknown (the nearest is suggested) or a value is no number.
        """
        for key, value in given.items():
            if key not in self.settings:
                raise InputError(
                    f"objective {self.name} has no setting {key!r}",
                    where=where,
                    remedy=did_you_mean(key, self.settings),
                )
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InputError(f"{key} must be a number, this is {value!r}", where=where)

    @property
    def summary(self) -> str:
        """The first line of the loss's docstring."""
        return (inspect.getdoc(self.loss) or "").split("\n")[0]


objectives: Registry[Objective] = Registry("objective")


def objective(
    name: str, *cells: Cell, reference: bool = True, weight: bool = False, tokens: bool = False
) -> Callable[[LossFunction], LossFunction]:
    """Return a decorator that registers a loss function as the objective `name` on `cells`."""

    def add(loss: LossFunction) -> LossFunction:
        objectives.add(name, Objective(name, cells, loss, reference, weight, tokens))
        return loss

    return add
