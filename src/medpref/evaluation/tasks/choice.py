"""Questions with lettered choices, answered by a letter, by a choice's text or by both."""

import re

from medpref.evaluation.scores.choice import score_choice
from medpref.evaluation.tasks.base import Scored, Task, tasks
from medpref.pairs.sample import Sample

_LETTERED = re.compile(r"^\s*\(?A\)?\s*[:.)]", re.MULTILINE)


def score(sample: Sample, answer: str) -> Scored:
    """Score by the choice that the answer names; one that names none, or several, is wrong and unparsed."""
    # A letter means something only to whom letters were shown.
    letters = _LETTERED.search(sample.prompt) is not None
    return Scored(score_choice(answer, sample.gold, sample.choices, letters=letters).scores())


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
