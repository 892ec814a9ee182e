"""GREEN by the package radeval."""

from collections.abc import Callable
from typing import Any

_NEEDED = ("Clinically Significant Errors", "Matched Findings")


def load(batch: int) -> Callable[[list[str], list[str]], list[float | str]]:
    """Load the 7B model that compares reports."""
    import torch
    from radeval.metrics.green_score.green import GREEN

    scorer = GREEN("StanfordAIMI/GREEN-radllama2-7b", cpu=not torch.cuda.is_available(), num_gpus=1)
    scorer.batch_size = batch

    def score(predictions: list[str], golds: list[str]) -> list[float | str]:
        _, _, values, _ = scorer(golds, predictions)
        return [_checked(scorer, *pair) for pair in zip(values, scorer.completions, strict=True)]

    return score


def _checked(scorer: Any, value: float | None, reply: str) -> float | str:
    """Return the value, unless the reply lacks a part: the package would count that as zero."""
    for part in _NEEDED:
        if scorer.parse_error_counts(reply, part, for_reward=True)[0] is None:
            return f"GREEN's reply has no part {part!r}"
    return "GREEN gives no score" if value is None else float(value)
