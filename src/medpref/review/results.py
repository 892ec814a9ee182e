"""What reviewers found: verdicts, kinds of errors and harm by method, and which answers were better."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from medpref.evaluation.intervals import Difference, Estimate, mean_interval, paired_difference
from medpref.evaluation.looking.error_rules import ERROR_KINDS
from medpref.review.judgement import CANNOT_TELL, TIE, Harm, Verdict
from medpref.review.log import ReviewLog, Said
from medpref.review.plan import Question

Share = Callable[[Said], float]


class Place(NamedTuple):
    """Where answers are from."""

    backbone: str
    task: str


class MethodFigures(NamedTuple):
    """What reviewers said of one method's answers to the questions drawn.

    Each figure is a share of the answers, the mean over the reviewers of an answer first; intervals are over
    images.

    Attributes:
        method: its name.
        verdicts: the shares of the verdicts; they sum to one.
        errors: the shares of answers with each kind of error that occurs at all.
        harms: the shares of answers with each degree of harm, ``none`` not among them.
        against: `correct` less that of the control, paired by question; None for the control itself.
        judged: how many answers were judged.
        by_two: how many of them by two reviewers or more.
    """

    method: str
    verdicts: Mapping[str, Estimate]
    errors: Mapping[str, Estimate]
    harms: Mapping[str, Estimate]
    against: Difference | None
    judged: int
    by_two: int


class Wins(NamedTuple):
    """A method's answers beside the control's.

    Attributes:
        method: its name.
        counts: judgements by what they say: ``won``, ``lost``, ``tie`` and ``cannot-tell``.
        rate: the share of wins, a tie being half of one, the mean over reviewers of a question first.
        margin: wins less losses as shares, with the p value of a sign-flip test over images.
        same: questions that both answer in the same words, which nobody judges side by side.
    """

    method: str
    counts: Mapping[str, int]
    rate: Estimate
    margin: Difference
    same: int


def places(review: ReviewLog) -> list[Place]:
    """Return where the reviewed answers are from, in alphabetical order."""
    return sorted({Place(q.backbone, q.task) for q in review.questions.values()})


def method_figures(review: ReviewLog, place: Place) -> list[MethodFigures]:
    """Return the figures of every method with judged answers, in alphabetical order."""
    said = _by_answer(review)
    kinds = [kind for kind in ERROR_KINDS if any(kind in one.errors for one in review.said)]
    control = review.settings.control
    answers = {name: found for name, found in _answers(review, place).items() if _judged(found, said)}
    clusters = [question.cluster for question in _questions(review, place)]
    return [
        _figures(
            method, keys, answers.get(control or "") if method != control else None, said, clusters, kinds
        )
        for method, keys in answers.items()
    ]


def _figures(
    method: str,
    keys: Sequence[str | None],
    control: Sequence[str | None] | None,
    said: Mapping[str, Sequence[Said]],
    clusters: Sequence[str],
    kinds: Sequence[str],
) -> MethodFigures:
    def mean(share: Share) -> Estimate:
        return mean_interval(_values(keys, said, share), clusters)

    correct = _share_of("verdict", Verdict.CORRECT)
    return MethodFigures(
        method=method,
        verdicts={str(v): mean(_share_of("verdict", v)) for v in Verdict},
        errors={kind: mean(_share_with(kind)) for kind in kinds},
        harms={str(h): mean(_share_of("harm", h)) for h in Harm if h is not Harm.NONE},
        against=None
        if control is None
        else paired_difference(_values(keys, said, correct), _values(control, said, correct), clusters),
        judged=_judged(keys, said),
        by_two=sum(len(said.get(key or "", ())) > 1 for key in keys),
    )


def _questions(review: ReviewLog, place: Place) -> list[Question]:
    return [q for q in review.questions.values() if (q.backbone, q.task) == place]


def _answers(review: ReviewLog, place: Place) -> dict[str, list[str | None]]:
    """Return the key of each method's answer to each question, None where it is not known any more."""
    questions = _questions(review, place)
    found = [{m: a.key for a in question.answers for m in a.methods} for question in questions]
    methods = sorted({method for answers in found for method in answers})
    return {method: [answers.get(method) for answers in found] for method in methods}


def _by_answer(review: ReviewLog) -> dict[str, list[Said]]:
    found: dict[str, list[Said]] = defaultdict(list)
    for one in review.said:
        if one.verdict:
            found[one.answers[0]].append(one)
    return dict(found)


def _judged(keys: Sequence[str | None], said: Mapping[str, Sequence[Said]]) -> int:
    return sum(key in said for key in keys)


def _values(keys: Sequence[str | None], said: Mapping[str, Sequence[Said]], share: Share) -> "np.ndarray":
    """Return the mean over reviewers for each question, NaN where nobody judged the answer."""
    found = [said.get(key or "", ()) for key in keys]
    return np.array([np.mean([share(one) for one in own]) if own else np.nan for own in found])


def _share_of(field: str, value: str) -> Share:
    return lambda one: float(getattr(one, field) == value)


def _share_with(kind: str) -> Share:
    return lambda one: float(kind in one.errors)


def wins(review: ReviewLog, place: Place) -> list[Wins]:
    """Return how every method fared beside the control, in alphabetical order; empty without a control."""
    control = review.settings.control
    answers = _answers(review, place)
    if control is None or control not in answers:
        return []
    compared: dict[frozenset[str], list[Said]] = defaultdict(list)
    for one in review.said:
        if one.preferred:
            compared[frozenset(one.answers)].append(one)
    clusters = [question.cluster for question in _questions(review, place)]
    found = (
        _wins(method, keys, answers[control], compared, clusters)
        for method, keys in answers.items()
        if method != control
    )
    return [one for one in found if sum(one.counts.values())]


def _wins(
    method: str,
    ours: Sequence[str | None],
    theirs: Sequence[str | None],
    compared: Mapping[frozenset[str], Sequence[Said]],
    clusters: Sequence[str],
) -> Wins:
    counts: Counter[str] = Counter()
    rates, won, lost = (np.full(len(ours), np.nan) for _ in range(3))
    for place, (own, other) in enumerate(zip(ours, theirs, strict=True)):
        said = list(_outcomes(own, other, compared))
        counts.update(said)
        decided = [outcome for outcome in said if outcome != CANNOT_TELL]
        if decided:
            won[place], lost[place], tied = (
                np.mean([outcome == name for outcome in decided]) for name in ("won", "lost", TIE)
            )
            rates[place] = won[place] + tied / 2
    return Wins(
        method=method,
        counts={name: counts[name] for name in ("won", "lost", TIE, CANNOT_TELL)},
        rate=mean_interval(rates, clusters),
        margin=paired_difference(won, lost, clusters),
        same=sum(a is not None and a == b for a, b in zip(ours, theirs, strict=True)),
    )


def _outcomes(
    own: str | None, other: str | None, compared: Mapping[frozenset[str], Sequence[Said]]
) -> Iterator[str]:
    if own is None or other is None or own == other:
        return
    for one in compared.get(frozenset((own, other)), ()):
        yield {own: "won", other: "lost"}.get(str(one.preferred), str(one.preferred))
