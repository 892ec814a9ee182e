"""Answers that look at neither image nor question: what a score is worth is its distance from these."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from medpref.evaluation.scores.legacy import legacy_normalise
from medpref.evaluation.scores.text import normalise

CONSTANT_ANSWER = "yes or no"
WORD_DUMP_SIZE = 200

Answerer = Callable[[Sequence[str], bool], str]
"""From the question's kinds, the most certain first, and whether it is closed, to an answer."""


class Answered(NamedTuple):
    """What a baseline may know of a training question.

    Attributes:
        kinds: question kinds, the most certain first.
        closed: whether the question has a closed set of answers.
        answer: the reference answer.
    """

    kinds: tuple[str, ...]
    closed: bool
    answer: str


def majority(train: Iterable[Answered]) -> Answerer:
    """Answer every closed question with the commonest closed answer, every open one with the commonest open.

    An empty string where the training data has no question of the sort.
    """
    by_sort: dict[bool, list[str]] = defaultdict(list)
    for row in train:
        by_sort[row.closed].append(row.answer)
    commonest = {closed: _commonest(answers) for closed, answers in by_sort.items()}
    return lambda kinds, closed: commonest.get(closed, "")


def majority_by_kind(train: Iterable[Answered]) -> Answerer:
    """Answer with the commonest answer to questions of the same first kind and sort.

    A kind that the training data lacks gets the answer of `majority`.
    """
    rows = list(train)
    overall = majority(rows)
    by_kind: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for row in rows:
        by_kind[_first(row.kinds), row.closed].append(row.answer)
    commonest = {key: _commonest(answers) for key, answers in by_kind.items()}
    return lambda kinds, closed: commonest.get((_first(kinds), closed)) or overall(kinds, closed)


def constant(train: Iterable[Answered]) -> Answerer:
    """Answer "yes or no" to everything; the training data is not looked at."""
    return lambda kinds, closed: CONSTANT_ANSWER


def word_dump(train: Iterable[Answered], size: int = WORD_DUMP_SIZE) -> Answerer:
    """Answer everything with the `size` commonest words of the open training answers, each of them once.

    Words are those that the legacy recall compares, the score that this answer exposes.
    """
    answers = (row.answer for row in train if not row.closed)
    counts = Counter(word for answer in answers for word in legacy_normalise(answer).split())
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    dump = " ".join(ranked[:size])
    return lambda kinds, closed: dump


BASELINES: dict[str, Callable[[Iterable[Answered]], Answerer]] = {
    "majority": majority,
    "majority-by-kind": majority_by_kind,
    "yes-or-no": constant,
    "word-dump": word_dump,
}
"""Name, as logs give it after ``baseline:``, to the function that fits the baseline to training data."""


def _first(kinds: Sequence[str]) -> str:
    return kinds[0] if kinds else ""


def _commonest(answers: Iterable[str]) -> str:
    """Return the commonest answer in its commonest spelling; ties go to the first in the alphabet."""
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for answer in answers:
        spellings[normalise(answer)][answer] += 1
    _, counts = min(spellings.items(), key=lambda item: (-item[1].total(), item[0]))
    return min(counts.items(), key=lambda item: (-item[1], item[0]))[0]
