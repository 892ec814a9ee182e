"""From answers to scores in an evaluation log: what tasks with atomic facts call."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medpref.evaluation.facts.extract import split_facts
from medpref.evaluation.facts.judges.base import Item, Judge, Judgement
from medpref.evaluation.facts.judging import judge_items
from medpref.evaluation.facts.labels import Label, UnreadableError
from medpref.evaluation.facts.replies import read_labels
from medpref.evaluation.facts.scores import entailed, f1, label_scores
from medpref.evaluation.tasks.base import Scored

NO_FACTS = "no facts"


@dataclass(frozen=True, slots=True)
class FactCase:
    """An answer with what it is judged by.

    Attributes:
        id: unique among the cases.
        facts: the reference's facts.
        response: the answer.
        gold: the reference text; with it precision and F1 are scored too.
        response_facts: the facts of the answer; by default `split_facts` of it.
    """

    id: str
    facts: tuple[str, ...]
    response: str
    gold: str | None = None
    response_facts: tuple[str, ...] | None = None


def score_facts(judge: Judge, cases: Sequence[FactCase], path: Path | None = None) -> list[Scored]:
    """Return the scores of each case, in order: ``fact_comp``, ``fact_hall``, ``fact_precision``…

    A case without facts, or whose reply gives no labels, is unscored with the reason. Precision and F1 are
    absent where there is no `gold`, the answer states no facts, or the reverse reply gives no labels.

    Args:
        judge: labels the facts, both ways.
        cases: ids are unique.
        path: where replies are kept, for runs that are interrupted; ``.reverse`` is put before the suffix for
            the other direction. Without it nothing is written.

    Raises:
        InputError, RunError: as `Judge.judge` and `judge_items` do.
    """
    back = None if path is None else path.with_name(f"{path.stem}.reverse{path.suffix}")
    forward = _judge(judge, [Item(c.id, c.facts, c.response) for c in cases if c.facts], path)
    reverse = [
        Item(case.id, facts, case.gold)
        for case in cases
        if case.gold is not None and (facts := _response_facts(case))
    ]
    backward = _judge(judge, reverse, back) if reverse else {}
    return [_scored(case, forward, backward) for case in cases]


def _response_facts(case: FactCase) -> tuple[str, ...]:
    return tuple(split_facts(case.response)) if case.response_facts is None else case.response_facts


Read = dict[str, tuple[Label, ...] | str]
"""Id → labels, or why there are none."""


def _judge(judge: Judge, items: Sequence[Item], path: Path | None) -> Read:
    if path is None:
        return {judgement.item.id: _labels(judgement) for judgement in judge.judge(items)}
    judged = judge_items(judge, items, path)
    counts = {item.id: len(item.facts) for item in items}
    found: Read = dict(judged.reasons)
    for row in judged.rows:
        ident = row["custom_id"]
        if ident not in found:
            found[ident] = read_labels(
                row["response"]["body"]["choices"][0]["message"]["content"], counts[ident]
            )
    return found


def _labels(judgement: Judgement) -> tuple[Label, ...] | str:
    if judgement.content is None:
        return judgement.reason or "no reply"
    try:
        return read_labels(judgement.content, len(judgement.item.facts))
    except UnreadableError as error:
        return str(error)


def _scored(case: FactCase, forward: Read, backward: Read) -> Scored:
    labels = forward.get(case.id, NO_FACTS if not case.facts else "no reply")
    if isinstance(labels, str):
        return Scored({}, labels)
    scores = {f"fact_{name}": value for name, value in label_scores(labels).items()}
    other = backward.get(case.id)
    if other is not None and not isinstance(other, str):
        scores["fact_precision"] = entailed(other)
        scores["fact_f1"] = f1(scores["fact_precision"], scores["fact_comp"])
    return Scored(scores)
