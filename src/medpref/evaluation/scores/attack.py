"""What answers that look at nothing score: the legacy scores beside ours, on any data set."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from medpref.evaluation.baselines import CONSTANT_ANSWER, WORD_DUMP_SIZE
from medpref.evaluation.scores.closed import score_closed, summarise_closed
from medpref.evaluation.scores.legacy import legacy_closed, legacy_normalise, legacy_open_scores
from medpref.evaluation.scores.legacy_multimedeval import legacy_multimedeval
from medpref.evaluation.scores.open import score_open


class Attack(NamedTuple):
    """One figure of one constant answer.

    Attributes:
        answer: the answer's name.
        score: the score's name.
        value: its mean, in [0, 1].
        n: over how many questions.
    """

    answer: str
    score: str
    value: float
    n: int


def word_dump(answers: Iterable[str], size: int = WORD_DUMP_SIZE) -> str:
    """Return the `size` commonest words of `answers`, ties in the order of their first appearance."""
    counts = Counter(word for answer in answers for word in legacy_normalise(answer).split())
    return " ".join(word for word, _ in counts.most_common(size))


def attack_closed(golds: Sequence[str], answer: str = CONSTANT_ANSWER) -> list[Attack]:
    """Return what `answer`, given to every closed question, scores against the references `golds`."""
    summary = summarise_closed(golds, [score_closed(answer, gold) for gold in golds])
    name = "legacy_multimedeval_closed"
    polar = [scores[name] for gold in golds if name in (scores := legacy_multimedeval(answer, gold))]
    rows = [
        ("legacy_closed", [legacy_closed(answer, gold) for gold in golds]),
        (name, polar),
    ]
    own = summary._asdict()
    n = own.pop("n")
    return [Attack(answer, score, fmean(values), len(values)) for score, values in rows if values] + [
        Attack(answer, score, value, n) for score, value in own.items()
    ]


def attack_open(golds: Sequence[str], answer: str, name: str) -> list[Attack]:
    """Return what `answer`, given to every open question, scores against the references `golds`.

    Args:
        golds: the references; those without words are left out, since they leave answers unscored.
        answer: the answer to all.
        name: what the rows call it.
    """
    legacy = [{**legacy_open_scores(answer, g), **legacy_multimedeval(answer, g)} for g in golds]
    own = [scored.scores() for gold in golds if (scored := score_open(answer, gold))]
    return [
        Attack(name, score, fmean(values), len(values))
        for rows in (legacy, own)
        for score in (rows[0] if rows else ())
        if (values := [row[score] for row in rows if score in row])
    ]
