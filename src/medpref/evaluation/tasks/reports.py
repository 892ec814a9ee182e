"""Captions and reports: word overlap, and what overlap hides: how long and how alike the answers are.

What a report says right or wrong is measured by its facts: ``medpref facts``.
"""

from functools import partial

from medpref.evaluation.scores.long_form import corpus_bleu, distinct_rate, mean_words, score_long_form
from medpref.evaluation.tasks.base import Scored, Task, tasks
from medpref.pairs.sample import Sample


def score(sample: Sample, answer: str) -> Scored:
    """Score by sentence BLEU and ROUGE-L."""
    scored = score_long_form(answer, sample.gold)
    if scored is None:
        return Scored({}, "the reference has no words")
    return Scored(scored.scores())


report_task = partial(
    Task,
    score=score,
    reports=True,
    headline=(("rouge_l", "all"),),
    corpus={"corpus_bleu": corpus_bleu, "distinct_rate": distinct_rate, "mean_words": mean_words},
)

tasks.add(
    "amboss",
    report_task(
        "amboss",
        1,
        "captions of AMBOSS's images, from the study's files",
        max_new_tokens=256,
        rows="rows with image_path and caption, under the study's prompt",
        published=164,
        source="release",
    ),
)
tasks.add(
    "mimic-cxr",
    report_task(
        "mimic-cxr",
        1,
        "findings of MIMIC-CXR's test studies, one image each",
        max_new_tokens=512,
        rows="test studies with findings, one frontal image, under the study's prompt",
        published=1031,
        source="mimic-cxr",
    ),
)
tasks.add(
    "iu-xray",
    report_task(
        "iu-xray",
        1,
        "IU X-ray's test reports, two views each",
        max_new_tokens=512,
        rows="test studies, under the study's prompt",
        published=590,
        source="iu-xray",
    ),
)
tasks.add(
    "report",
    report_task("report", 1, "captions or reports from your own file", max_new_tokens=512, rows="all rows"),
)
