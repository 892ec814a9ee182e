"""Whether pairs have what an objective reads: found out before the first step."""

from collections.abc import Sequence

from medpref.errors import InputError
from medpref.objectives.base import Objective
from medpref.pairs.pair import Pair
from medpref.scoring.cells import missing_part
from medpref.training.parts import TrainingPart


def check_parts(parts: Sequence[TrainingPart], *, cached_reference: bool) -> None:
    """Check that parts can be trained on.

    Args:
        parts: what is to be trained on.
        cached_reference: whether reference log-probs are looked up, not scored on the fly.

    Raises:
        InputError: there are no parts, two have the same name, one's share is not above zero, one's reference
            is missing, or `check_pairs` finds a fault.
    """
    if not parts:
        raise InputError("there is no part to train on")
    names = [part.name for part in parts]
    for part in parts:
        if names.count(part.name) > 1:
            raise InputError("two parts have the same name", where=part.name)
        if not part.share > 0:
            raise InputError(f"a share must be above zero, this is {part.share}", where=part.name)
        if cached_reference and part.objective.needs_reference and part.reference is None:
            raise InputError(f"objective {part.objective.name} needs reference log-probs", where=part.name)
        check_pairs(part.pairs, part.objective)


def check_alike(parts: Sequence[TrainingPart]) -> None:
    """Check that all pairs have images or none has, as processes need that each hold a part of the weights.

    Each time one of them runs the vision tower, all others have to.

    Raises:
        InputError: some pairs have images and some have none; the message names one without.
    """
    pairs = [pair for part in parts for pair in part.pairs]
    bare = next((pair for pair in pairs if not pair.images), None)
    if bare is not None and any(pair.images for pair in pairs):
        raise InputError(
            "a pair without images beside pairs with images cannot be trained with spread weights",
            where=f"pair {bare.id}",
            remedy="Leave such pairs out, or give each process the whole model.",
        )


def check_pairs(pairs: Sequence[Pair], objective: Objective) -> None:
    """Check that every pair has what the objective reads.

    Raises:
        InputError: there are no pairs, or one lacks a cell's part or the weight; the message names it.
    """
    if not pairs:
        raise InputError("there is no pair to train on")
    for pair in pairs:
        lacking = next(filter(None, (missing_part(pair, cell) for cell in objective.cells)), None)
        if lacking is None and objective.needs_weight and pair.weight is None:
            lacking = "no weight"
        if lacking:
            raise InputError(
                f"{lacking}, which objective {objective.name} needs",
                where=f"pair {pair.id}",
                remedy="Name a recipe that makes it, or leave the pair out.",
            )
