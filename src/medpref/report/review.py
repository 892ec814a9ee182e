"""What experts said of the answers: how far they agree, verdicts, errors and harm by method, side by side."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from medpref.evaluation.intervals import Difference, Estimate
from medpref.report.layout import Layout, Role
from medpref.report.load import RunFolder
from medpref.report.looking.errors import NAMES
from medpref.report.tables import Score
from medpref.report.wording import ABSENT, counted, decimals, decimals_interval, joined, p_equals
from medpref.review.agreement import Agreement, agreements
from medpref.review.judgement import CANNOT_TELL, TIE, Harm, Verdict
from medpref.review.log import ReviewLog, read_review, without_stale
from medpref.review.results import MethodFigures, Place, method_figures, places, wins

VERDICTS: Mapping[str, str] = {
    Verdict.CORRECT: "Correct",
    Verdict.PARTLY: "Partly correct",
    Verdict.WRONG: "Wrong",
    Verdict.CANNOT_TELL: "Can’t tell",
}
HARMS: Mapping[str, str] = {Harm.MILD: "Mild", Harm.MODERATE: "Moderate", Harm.SEVERE: "Severe"}
_WHAT: Mapping[str, str] = {
    "verdict": "Verdict (four values)",
    "grade": "Verdict: correct, partly, wrong",
    "harm": "Harm",
    "preference": "Which answer is better",
}


class AgreementLine(NamedTuple):
    """One row of the table of agreement: α and the κ of each two reviewers, as text."""

    what: str
    order: str
    n: int
    alpha: str
    interval: str
    kappas: tuple[str, ...]


class VerdictRow(NamedTuple):
    """One method: its figures by the columns' keys, and what it gains on the control."""

    method: str
    role: Role
    verdicts: Mapping[str, Score]
    errors: Mapping[str, Score]
    harms: Mapping[str, Score]
    against: Score | None
    p_value: str
    judged: int
    by_two: int


class WinRow(NamedTuple):
    """One method beside the control."""

    method: str
    role: Role
    won: int
    lost: int
    tie: int
    cannot_tell: int
    rate: Score
    p_value: str
    same: int


class ReviewTable(NamedTuple):
    """The methods of one backbone on one task."""

    backbone: str
    task: str
    kinds: Sequence[tuple[str, str]]
    rows: Sequence[VerdictRow]
    wins: Sequence[WinRow]


class ReviewSection(NamedTuple):
    """Everything that the page says of a review.

    Attributes:
        sentences: who has judged what.
        control: what methods stand beside.
        pairs: the reviewers of each κ, as column titles.
        agreement: how far reviewers agree.
        tables: what they found.
    """

    sentences: tuple[str, ...]
    control: str | None
    pairs: tuple[str, ...]
    agreement: Sequence[AgreementLine]
    tables: Sequence[ReviewTable]


def review_section(run: RunFolder, layout: Layout) -> ReviewSection | None:
    """Return what the page says of a run's review, None where there are no judgements."""
    found = read_review(run.path)
    if found is None or not found.said:
        return None
    review, stale = without_stale(found, run.logs)
    lines = agreements(review)
    return ReviewSection(
        sentences=tuple(_sentences(review, stale)),
        control=review.settings.control,
        pairs=tuple(f"{kappa.first} – {kappa.second}" for kappa in lines[0].kappas) if lines else (),
        agreement=[_line(line) for line in lines],
        tables=[table for place in places(review) if (table := _table(review, place, layout)).rows],
    )


def _sentences(review: ReviewLog, stale: Sequence[str]) -> list[str]:
    told = [f"{name} {review.judged(name):,} of {review.items:,}" for name in review.reviewers]
    drawn = counted(len(review.questions), "question")
    sentences = [f"{drawn} were drawn at random. Judged items: {joined(told)}."]
    if len({one.reviewer for one in review.said}) < 2:
        sentences.append("One reviewer alone: nothing tells how far others would agree.")
    if review.drafts:
        sentences.append(f"{counted(review.drafts, 'item')} begun without a verdict count as not judged.")
    if stale:
        changed = f"Answers of {joined(stale)} have changed since they were judged"
        sentences.append(f"{changed}; what was said of the old ones is not counted.")
    return sentences


def _line(found: Agreement) -> AgreementLine:
    kind = found.what.removeprefix("error:")
    alpha = found.alpha
    return AgreementLine(
        what=_WHAT.get(found.what) or f"Error: {NAMES[kind].lower()}",
        order="ordinal" if found.ordered else "nominal",
        n=alpha.n,
        alpha=ABSENT if math.isnan(alpha.value) else decimals(alpha.value),
        interval="" if math.isnan(alpha.low) else decimals_interval(alpha.low, alpha.high),
        kappas=tuple(f"{decimals(kappa.value)} (n = {kappa.n:,})" for kappa in found.kappas),
    )


def _table(review: ReviewLog, place: Place, layout: Layout) -> ReviewTable:
    order = {name: number for number, name in enumerate(layout.methods)}

    def rank(row: NamedTuple) -> int:
        return order.get(row[0], len(order))

    figures = sorted(method_figures(review, place), key=rank)
    kinds = [(kind, NAMES[kind]) for kind in figures[0].errors] if figures else []
    found = sorted(wins(review, place), key=rank)
    beside = [
        WinRow(
            one.method,
            layout.role(one.method),
            won=one.counts["won"],
            lost=one.counts["lost"],
            tie=one.counts[TIE],
            cannot_tell=one.counts[CANNOT_TELL],
            rate=_score(one.rate),
            p_value=_p_value(one.margin),
            same=one.same,
        )
        for one in found
    ]
    return ReviewTable(place.backbone, place.task, kinds, [_row(one, layout) for one in figures], beside)


def _row(found: MethodFigures, layout: Layout) -> VerdictRow:
    return VerdictRow(
        method=found.method,
        role=layout.role(found.method),
        verdicts={name: _score(value) for name, value in found.verdicts.items()},
        errors={name: _score(value) for name, value in found.errors.items()},
        harms={name: _score(value) for name, value in found.harms.items()},
        against=_score(found.against) if found.against else None,
        p_value=_p_value(found.against) if found.against else "",
        judged=found.judged,
        by_two=found.by_two,
    )


def _score(found: Estimate | Difference) -> Score:
    value, low, high = (None if math.isnan(x) else x for x in (found.value, found.low, found.high))
    return Score(value, low, high, found.n)


def _p_value(found: Difference) -> str:
    return "" if math.isnan(found.p_value) else f"p {p_equals(found.p_value)}"
