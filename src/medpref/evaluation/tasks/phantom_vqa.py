"""Phantom VQA: nine kinds of questions with exact answers; six can only be read off the lesion."""

from medpref.evaluation.scores.closed import score_closed
from medpref.evaluation.tasks.base import Scored, Task, tasks
from medpref.pairs.sample import Sample
from medpref.phantoms import VISUAL_KINDS


def score(sample: Sample, answer: str) -> Scored:
    """Score by the kind's list of answers; an answer outside the list is wrong and counted as unparsed."""
    return Scored(score_closed(answer, sample.gold, sample.choices).scores())


tasks.add(
    "phantom-vqa",
    Task(
        name="phantom-vqa",
        version=1,
        summary="questions about procedural phantoms, nine kinds",
        score=score,
        headline=(("accuracy", "all"), ("accuracy", "visual")),
        max_new_tokens=8,
        rows="all questions of the test phantoms, which are balanced",
        source="phantoms",
        slices={"visual": frozenset(VISUAL_KINDS)},
    ),
)
