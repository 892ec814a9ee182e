"""RaTEScore by the package of that name."""

from collections.abc import Callable

# What the package gives where it finds no entity in one of the reports: no measurement.
_NO_ENTITY = 0.5


def load(batch: int) -> Callable[[list[str], list[str]], list[float | str]]:
    """Load the entity recogniser and the encoder of synonyms."""
    import torch
    from RaTEScore import RaTEScore

    scorer = RaTEScore(use_gpu=torch.cuda.is_available(), batch_size=batch)

    def score(predictions: list[str], golds: list[str]) -> list[float | str]:
        values = scorer.compute_score(predictions, golds)
        return [
            "RaTEScore finds no entity in one of the reports" if value == _NO_ENTITY else float(value)
            for value in values
        ]

    return score
