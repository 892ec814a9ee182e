"""METEOR by the package pycocoevalcap, which brings the original Java program and its tables along."""

import shutil
from collections.abc import Callable


def load(batch: int) -> Callable[[list[str], list[str]], list[float]]:
    """Start METEOR. Raises `RuntimeError` where there is no Java."""
    del batch  # it takes one pair at a time
    from pycocoevalcap.meteor.meteor import Meteor

    if shutil.which("java") is None:
        raise RuntimeError("METEOR is a Java program and there is no java on the path")
    meteor = Meteor()

    def score(predictions: list[str], golds: list[str]) -> list[float]:
        references = {number: [_line(gold)] for number, gold in enumerate(golds)}
        answers = {number: [_line(prediction)] for number, prediction in enumerate(predictions)}
        _, values = meteor.compute_score(references, answers)
        return [float(value) for value in values]

    return score


def _line(text: str) -> str:
    """Return `text` without what the program takes for the end of a field or of a line."""
    return " ".join(text.replace("|||", " ").split())
