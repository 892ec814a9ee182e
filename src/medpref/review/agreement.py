"""How far reviewers agree: on verdicts, harm, kinds of errors, and which answer is better."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from medpref.evaluation.agreement import Unit, cohen_kappa
from medpref.evaluation.alpha import alpha_interval
from medpref.evaluation.intervals import Estimate
from medpref.evaluation.looking.error_rules import ERROR_KINDS
from medpref.review.judgement import CANNOT_TELL, FAULTY, TIE, Harm, Verdict
from medpref.review.log import ReviewLog, Said

_GRADES = (Verdict.CORRECT, Verdict.PARTLY, Verdict.WRONG)
Label = Callable[[Said], Hashable | None]


class Kappa(NamedTuple):
    """Cohen's κ of two reviewers over the n items that both labelled, None where it is not defined."""

    first: str
    second: str
    value: float | None
    n: int


class Agreement(NamedTuple):
    """How far reviewers agree on one thing.

    Attributes:
        what: the thing: ``verdict``, ``grade``, ``harm``, ``error:KIND`` or ``preference``.
        ordered: whether labels farther apart disagree more.
        alpha: Krippendorff's α with its interval over images, n the items with two labels or more.
        kappas: Cohen's κ of each two reviewers, which knows no order.
    """

    what: str
    ordered: bool
    alpha: Estimate
    kappas: tuple[Kappa, ...]


def agreements(review: ReviewLog) -> list[Agreement]:
    """Return the agreement on everything that two reviewers have said something of."""
    return [found for found in _all(review) if found.alpha.n]


def _all(review: ReviewLog) -> Iterator[Agreement]:
    verdicts = [one for one in review.said if one.verdict]
    yield _agreement(review, "verdict", verdicts, lambda one: one.verdict, tuple(Verdict))
    yield _agreement(review, "grade", verdicts, _grade, _GRADES, ordered=True)
    yield _agreement(review, "harm", verdicts, _harm, tuple(Harm), ordered=True)
    for kind in ERROR_KINDS:
        if any(kind in one.errors for one in verdicts):
            yield _agreement(review, f"error:{kind}", verdicts, _has(kind), (False, True))
    yield from _preferences(review)


def _preferences(review: ReviewLog) -> Iterator[Agreement]:
    """Yield the agreement on side-by-side comparisons: as their items list the answers, not as they stood."""
    compared = [one for one in review.said if one.preferred]
    labels = (TIE, CANNOT_TELL, 0, 1)
    yield _agreement(review, "preference", compared, _preferred, labels)


def _preferred(one: Said) -> Hashable | None:
    """Return the better answer's place in the item, or that there is none."""
    return one.answers.index(one.preferred) if one.preferred in one.answers else one.preferred


def _grade(one: Said) -> Hashable | None:
    return one.verdict if one.verdict in _GRADES else None


def _harm(one: Said) -> Hashable | None:
    """Return the harm that was said; a correct answer has none, and what was not said is no label."""
    return Harm.NONE if one.verdict == Verdict.CORRECT else one.harm


def _has(kind: str) -> Label:
    """Return what tells whether an answer has a kind of error; one that cannot be judged has no label."""
    return lambda one: None if one.verdict == CANNOT_TELL else one.verdict in FAULTY and kind in one.errors


def _agreement(
    review: ReviewLog,
    what: str,
    said: Sequence[Said],
    label: Label,
    labels: Sequence[Hashable],
    *,
    ordered: bool = False,
) -> Agreement:
    items = {one.item: one.question for one in said}
    found = {(one.item, one.reviewer): label(one) for one in said}
    units: list[Unit] = [[found.get((item, name)) for name in review.reviewers] for item in items]
    clusters = [review.questions[question].cluster for question in items.values()]
    columns = dict(zip(review.reviewers, zip(*units, strict=True), strict=True)) if units else {}
    return Agreement(
        what=what,
        ordered=ordered,
        alpha=alpha_interval(units, clusters, labels, ordered=ordered),
        kappas=tuple(_kappa(columns, *pair) for pair in combinations(columns, 2)),
    )


def _kappa(columns: Mapping[str, Unit], first: str, second: str) -> Kappa:
    one, two = columns[first], columns[second]
    n = sum(a is not None and b is not None for a, b in zip(one, two, strict=True))
    return Kappa(first, second, cohen_kappa(one, two), n)
