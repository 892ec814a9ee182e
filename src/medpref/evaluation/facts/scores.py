"""Comp, hall, precision and F1 from labels; an unreadable reply is unscored and never a zero."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from medpref.evaluation.facts.batch_rows import ReplyRow
from medpref.evaluation.facts.files import FactRow
from medpref.evaluation.facts.labels import COMP, Label, UnreadableError
from medpref.evaluation.facts.matching import Matches, match_ids
from medpref.evaluation.facts.replies import read_labels
from medpref.evaluation.intervals import Estimate, mean_interval


@dataclass(frozen=True, slots=True)
class SampleScore:
    """One sample.

    Attributes:
        id: the sample's.
        cluster: what intervals are clustered by.
        labels: one for each fact; None where the sample is unscored.
        scores: figure → value in [0, 1]; empty where unscored.
        reason: why it is unscored, or None.
    """

    id: str
    cluster: str
    labels: tuple[Label, ...] | None
    scores: dict[str, float]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """All samples with what is worth telling about their files."""

    samples: tuple[SampleScore, ...]
    notes: tuple[str, ...] = field(default=())


def label_scores(labels: Sequence[Label]) -> dict[str, float]:
    """Return comp = (E + ½·PE)/n and hall = C/n of the labels of n ≥ 1 facts.

    Raises:
        ValueError: there are no labels.
    """
    if not labels:
        raise ValueError("no facts")
    return {"comp": entailed(labels), "hall": labels.count(Label.CONTRADICTION) / len(labels)}


def entailed(labels: Sequence[Label]) -> float:
    """Return (E + ½·PE)/n: comp of a reference's facts, precision of a response's."""
    return sum(COMP.get(label, 0.0) for label in labels) / len(labels)


def f1(precision: float, recall: float) -> float:
    """Return 2·p·r/(p + r), 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def score_replies(facts: Sequence[FactRow], replies: Sequence[ReplyRow]) -> Scores:
    """Score each row of facts by the reply that belongs to it.

    Args:
        facts: the facts, a row a sample. Of equal rows one is scored; rows that share an id and differ
            otherwise are unscored, as nobody can tell whose the reply is.
        replies: of a judge, in any order, matched as `medpref.evaluation.facts.matching` says. Replies to one
            sample that give the same labels count once; those that differ leave it unscored.
    """
    rows = list(dict.fromkeys(facts))
    often = Counter(row.id for row in rows)
    matches = match_ids(often, [reply.custom_id for reply in replies if reply.custom_id is not None])
    found: dict[str, list[ReplyRow]] = defaultdict(list)
    for reply in replies:
        if reply.custom_id in matches.owner:
            found[matches.owner[reply.custom_id]].append(reply)
    unsure = {ident: name for name, idents in matches.ambiguous.items() for ident in idents}
    samples = [_score(row, found[row.id], unsure.get(row.id), often[row.id]) for row in rows]
    return Scores(tuple(samples), tuple(_notes(facts, rows, replies, matches, found)))


def _score(row: FactRow, replies: Sequence[ReplyRow], unsure: str | None, often: int) -> SampleScore:
    try:
        if row.fault:
            raise UnreadableError(row.fault)
        if often > 1:
            raise UnreadableError("several rows of facts have this id, and differ")
        if not replies:
            told = f"; custom_id {unsure!r} may belong to it, or to another" if unsure else ""
            raise UnreadableError(f"no reply{told}")
        labels = _agreed(replies, len(row.facts))
    except UnreadableError as error:
        return SampleScore(row.id, row.cluster, None, {}, str(error))
    return SampleScore(row.id, row.cluster, labels, label_scores(labels))


def _agreed(replies: Sequence[ReplyRow], count: int) -> tuple[Label, ...]:
    """Return the labels of a sample's replies. Raises `UnreadableError` where there are none, or several."""
    read: list[tuple[Label, ...]] = []
    faults: list[str] = []
    for reply in replies:
        if reply.content is None:
            faults.append(reply.error or "no reply")
            continue
        try:
            read.append(read_labels(reply.content, count))
        except UnreadableError as error:
            faults.append(str(error))
    if not read:
        raise UnreadableError(faults[-1])
    if len(set(read)) > 1:
        raise UnreadableError(f"{len(read)} replies with different labels")
    return read[0]


def _notes(
    facts: Sequence[FactRow],
    rows: Sequence[FactRow],
    replies: Sequence[ReplyRow],
    matches: Matches,
    found: dict[str, list[ReplyRow]],
) -> list[str]:
    """Say what did not go into the figures as it stood in the files."""
    broken = [reply for reply in replies if reply.custom_id is None]
    several = [ident for ident, kept in found.items() if len(kept) > 1]
    ambiguous = "; ".join(
        f"{name!r}: {' or '.join(ids)}" for name, ids in list(matches.ambiguous.items())[:3]
    )
    told = {
        "rows of facts repeat another row and count once": len(facts) - len(rows),
        "lines of the replies hold no reply with a custom_id"
        + (f", the first is line {broken[0].line}" if broken else ""): len(broken),
        f"replies belong to no sample, such as {matches.strange[:3]}": len(matches.strange),
        f"custom_ids are ambiguous ({ambiguous})": len(matches.ambiguous),
        f"samples have several replies, such as {several[:3]}": len(several),
    }
    return [f"{count} {what}" for what, count in told.items() if count]


def with_precision(forward: Scores, backward: Scores) -> Scores:
    """Add to each sample the precision of its response's facts, and F1 where it has comp as well.

    A sample whose response has no facts has no precision: it says nothing that could be wrong. F1 is
    2·p·r/(p + r) with comp as r.

    Args:
        forward: the reference's facts judged against the responses.
        backward: the responses' facts judged against the references, by the same ids.
    """
    by_id = {sample.id: sample for sample in backward.samples if sample.labels}
    samples = []
    for sample in forward.samples:
        other = by_id.get(sample.id)
        if other is None or not other.labels:
            samples.append(sample)
            continue
        added = {"precision": entailed(other.labels)}
        if "comp" in sample.scores:
            added["f1"] = f1(added["precision"], sample.scores["comp"])
        scores = {**sample.scores, **added}
        samples.append(SampleScore(sample.id, sample.cluster, sample.labels, scores, sample.reason))
    notes = [f"reverse direction: {note}" for note in backward.notes]
    return Scores(tuple(samples), (*forward.notes, *notes))


def estimate(samples: Sequence[SampleScore], figure: str) -> Estimate:
    """Return a figure's macro-average over the samples that have it, with its 95 % interval over clusters."""
    values = np.array([sample.scores.get(figure, math.nan) for sample in samples], dtype=float)
    return mean_interval(values, [sample.cluster for sample in samples])
