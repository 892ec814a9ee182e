"""Closed and open questions with one short reference answer: the published sets, and any user's own file."""

from functools import partial

from medpref.evaluation.scores.closed import score_closed
from medpref.evaluation.scores.legacy import legacy_closed_scores, legacy_open_scores
from medpref.evaluation.scores.legacy_multimedeval import legacy_multimedeval
from medpref.evaluation.scores.open import score_open
from medpref.evaluation.tasks.base import Scored, Task, tasks
from medpref.pairs.sample import Sample


def score(sample: Sample, answer: str) -> Scored:
    """Score closed questions by accuracy and open ones by token overlap.

    The legacy scores stand beside them only for comparison with published tables: constant answers and word
    dumps score high on both.
    """
    if sample.closed:
        own = score_closed(answer, sample.gold, sample.choices or None).scores()
        legacy = legacy_closed_scores(answer, sample.gold)
    else:
        scored = score_open(answer, sample.gold)
        if scored is None:
            return Scored({}, "the gold answer has no words")
        own, legacy = scored.scores(), legacy_open_scores(answer, sample.gold)
    return Scored({**own, **legacy, **legacy_multimedeval(answer, sample.gold)})


HEADLINE = (("accuracy", "closed"), ("exact_match", "open"), ("token_f1", "open"))

vqa_task = partial(Task, score=score, headline=HEADLINE)

tasks.add(
    "vqa-rad",
    vqa_task(
        "vqa-rad",
        2,
        "VQA-RAD's standard test split",
        rows="free-form and paraphrased test questions",
        published=451,
        source="vqa-rad",
    ),
)
tasks.add(
    "slake",
    vqa_task(
        "slake",
        1,
        "SLAKE's English test questions",
        rows="the test split where q_lang is en",
        published=1061,
        source="slake",
    ),
)
tasks.add(
    "path-vqa",
    vqa_task("path-vqa", 1, "PathVQA's test questions", published=6719, source="path-vqa"),
)
tasks.add(
    "vqa",
    vqa_task("vqa", 2, "questions from your own file, closed where the answer is yes or no", rows="all rows"),
)
