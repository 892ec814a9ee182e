"""CheXbert-F1 by the package radeval.

F1 is over the labels of one report, positive or uncertain ones counting as there, so that reports can be
compared one by one. Published tables give it over all reports, micro or macro, which is another figure.
"""

from collections.abc import Callable, Sequence


def load(batch: int) -> Callable[[list[str], list[str]], list[float | str]]:
    """Load CheXbert."""
    import torch
    from radeval.metrics.f1chexbert.f1chexbert import F1CheXbert

    device = "cuda" if torch.cuda.is_available() else "cpu"
    labeller = F1CheXbert(device=device, batch_size=batch)

    def score(predictions: list[str], golds: list[str]) -> list[float | str]:
        pairs = zip(labeller.get_labels(predictions), labeller.get_labels(golds), strict=True)
        return [_f1(found, expected) for found, expected in pairs]

    return score


def _f1(found: Sequence[int], expected: Sequence[int]) -> float | str:
    positives = sum(found) + sum(expected)
    if not positives:
        return "CheXbert finds nothing in either report"
    return 2 * sum(one and other for one, other in zip(found, expected, strict=True)) / positives
