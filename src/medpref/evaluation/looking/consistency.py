"""Whether an answer follows the image: exchanged sides under mirroring, the same answer in other words."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from medpref.evaluation.log import EvaluationLog, Record
from medpref.evaluation.looking.runs import Conditions, Row, Run, by_run, estimates, right, shared_samples
from medpref.evaluation.scores.closed import gold_polarity
from medpref.evaluation.scores.polarity import Polarity, polarity
from medpref.evaluation.scores.text import normalise
from medpref.pairs.recipes.images.mirror import sides_in

MIRROR = "mirror"
NORMAL = "normal"
REPHRASED = "rephrased"
FLIPS = ("flipped", "unchanged", "unread", "both_right")
CONSISTENCY = ("same", "both_right", "changed", "unread")

Figures = Callable[[Sequence[Record]], Sequence[float]]
"""From one sample's records, the normal one first, to its figures."""


def flip_rate(logs: Sequence[EvaluationLog]) -> list[Row]:
    """Return what becomes of the side that is answered when the image is mirrored.

    Over the samples that both the conditions ``normal`` and ``mirror`` have, for each run:

    - ``flipped``: the share whose two answers name one side each, and not the same
    - ``unchanged``: the share whose two answers name the same side; an answer by habit does
    - ``unread``: the share of which an answer names no side, or both
    - ``both_right``: the share that is right on both images

    The first three sum to 1. A model that always says "left" has 1 unchanged; one that guesses each time
    anew has ½ flipped and ¼ both right; one that looks approaches 1 flipped and both right.

    Returns:
        Rows of backbone, method, seed ("all" over several), task, measure, value, ci_low, ci_high and n.
    """
    return [row for run, seeds in by_run(logs) for row in _rows(run, seeds, (NORMAL, MIRROR), FLIPS, _flip)]


def consistency(logs: Sequence[EvaluationLog]) -> list[Row]:
    """Return how often rephrasing a question changes its answer.

    For each condition ``rephrased``, ``rephrased-2``, … on its own, and for all of them together where there
    are several, over the samples that they and ``normal`` have:

    - ``same``: the share of samples whose answers all say the same; yes and no are read by polarity, others
      word for word after normalising
    - ``changed``: the share with answers that differ
    - ``unread``: the share of yes/no questions of which an answer says neither or both
    - ``both_right``: the share that is right in all wordings

    The first three sum to 1. A constant answer is perfectly consistent: read ``same`` beside ``both_right``.

    Returns:
        Rows as of `flip_rate`, with the condition: a name, or names joined by ``+``.
    """
    rows: list[Row] = []
    for run, seeds in by_run(logs):
        names = sorted({name for conditions in seeds.values() for name in conditions if _is_rephrased(name)})
        groups = [(name,) for name in names] + ([tuple(names)] if len(names) > 1 else [])
        for group in groups:
            made = _rows(run, seeds, (NORMAL, *group), CONSISTENCY, _same)
            rows += [{**row, "condition": "+".join(group)} for row in made]
    return rows


def _is_rephrased(condition: str) -> bool:
    return condition == REPHRASED or condition.startswith(f"{REPHRASED}-")


def _rows(
    run: Run,
    seeds: Mapping[int, Conditions],
    names: Sequence[str],
    measures: Sequence[str],
    measure: Figures,
) -> Iterator[Row]:
    """Yield a row for each seed and measure over the samples that all of the named conditions have."""
    samples = shared_samples(seeds, names)
    values = {
        seed: np.array([measure([conditions[name][one.id] for name in names]) for one in samples])
        for seed, conditions in seeds.items()
        if all(name in conditions for name in names)
    }
    for seed, rows in estimates(values, [one.cluster for one in samples]):
        for name, row in zip(measures, rows, strict=True):
            yield {**run.place(seed), "measure": name, **row}


def _flip(records: Sequence[Record]) -> Sequence[float]:
    sides = [_side(record.prediction) for record in records]
    read = None not in sides
    same = len(set(sides)) == 1
    return (float(read and not same), float(read and same), float(not read), _all_right(records))


def _side(answer: str) -> str | None:
    named = sides_in(answer)
    return next(iter(named)) if len(named) == 1 else None


def _same(records: Sequence[Record]) -> Sequence[float]:
    said = [_said(record) for record in records]
    read = None not in said
    same = len(set(said)) == 1
    return (float(read and same), _all_right(records), float(read and not same), float(not read))


def _said(record: Record) -> str | None:
    """Return what an answer says, None where a yes or no was asked for and cannot be read."""
    if not record.closed or gold_polarity(record.gold) is None:
        return normalise(record.prediction)
    found = polarity(record.prediction)
    return found.value if found in (Polarity.YES, Polarity.NO) else None


def _all_right(records: Sequence[Record]) -> float:
    # NaN, for a sample without a score, stays NaN.
    return float(np.prod([right(record) for record in records]))
