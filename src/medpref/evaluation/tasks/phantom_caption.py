"""Phantom captions: one sentence that states every fact."""

from medpref.evaluation.scores.open import score_open
from medpref.evaluation.tasks.base import Scored, Task, tasks
from medpref.pairs.sample import Sample


def score(sample: Sample, answer: str) -> Scored:
    """Score by exact match (every fact right) and by token F1."""
    scored = score_open(answer, sample.gold)
    if scored is None:
        return Scored({}, "the gold caption is empty")
    return Scored({"exact_match": scored.exact_match, "token_f1": scored.token_f1})


tasks.add(
    "phantom-caption",
    Task(
        name="phantom-caption",
        version=1,
        summary="one-sentence captions of procedural phantoms",
        score=score,
        headline=(("exact_match", "all"),),
        max_new_tokens=40,
        reports=True,
        rows="one caption of each test phantom",
        source="phantoms",
    ),
)
