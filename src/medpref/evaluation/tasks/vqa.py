"""Closed and open questions with one reference answer: VQA-RAD, and any user's own file."""

from medpref.evaluation.scores.closed import score_closed
from medpref.evaluation.scores.legacy import legacy_closed, legacy_open_recall
from medpref.evaluation.scores.open import score_open
from medpref.evaluation.tasks.base import Scored, Task, tasks
from medpref.pairs.sample import Sample


def score(sample: Sample, answer: str) -> Scored:
    """Score closed questions by accuracy and open ones by token overlap.

    The legacy scores stand beside them only for comparison with published tables: constant answers and word
    dumps score high on both.
    """
    if sample.closed:
        closed = score_closed(answer, sample.gold, sample.choices or None).scores()
        return Scored({**closed, "legacy_closed": legacy_closed(answer, sample.gold)})
    scored = score_open(answer, sample.gold)
    if scored is None:
        return Scored({}, "the gold answer has no words")
    return Scored({**scored.scores(), "legacy_open_recall": legacy_open_recall(answer, sample.gold)})


HEADLINE = (("accuracy", "closed"), ("exact_match", "open"), ("token_f1", "open"))

tasks.add("vqa-rad", Task("vqa-rad", 1, "VQA-RAD's standard test split", score, HEADLINE))
tasks.add(
    "vqa",
    Task("vqa", 1, "questions from your own file, closed where the answer is yes or no", score, HEADLINE),
)
