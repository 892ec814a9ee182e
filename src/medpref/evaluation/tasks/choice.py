"""Questions with lettered choices, answered by a letter, by a choice's text or by both."""

import re

from medpref.evaluation.scores.choice import score_choice
from medpref.evaluation.tasks.base import Scored, Task, tasks
from medpref.pairs.sample import Sample

_LETTERED = re.compile(r"^\s*\(?([A-Z])\)?\s*[:.)]\s*(\S.*)$", re.MULTILINE)


def score(sample: Sample, answer: str) -> Scored:
    """Score by the choice that the answer names; one that names none, or several, is wrong and unparsed."""
    # A letter means what the prompt says it means, and nothing where none were shown.
    lettered = dict(_LETTERED.findall(sample.prompt))
    scored = score_choice(answer, sample.gold, lettered or sample.choices, letters=bool(lettered))
    return Scored(scored.scores())


tasks.add(
    "pmc-vqa",
    Task(
        name="pmc-vqa",
        version=1,
        summary="PMC-VQA's test questions with four choices",
        score=score,
        headline=(("accuracy", "all"),),
        rows="the checked test split (test_clean) where the folder has it",
        source="pmc-vqa",
    ),
)
