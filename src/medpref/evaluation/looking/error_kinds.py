"""The shares of wrong answers by kind of error."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from medpref.evaluation.agreement import cohen_kappa
from medpref.evaluation.log import EvaluationLog, Record
from medpref.evaluation.looking.error_rules import ERROR_KINDS, VISUAL
from medpref.evaluation.looking.error_rules import error_kinds as by_rules
from medpref.evaluation.looking.runs import Conditions, Row, Run, by_run, estimates, right, tidy

VISUAL_ANY = "visual"


class WrongAnswer(NamedTuple):
    """A question with its right and a wrong answer: all that the kind of an error is told from."""

    question: str
    gold: str
    answer: str


Kinds = Mapping[WrongAnswer, tuple[str, ...]]
"""The kinds of wrong answers, the main one first."""

rules = lru_cache(maxsize=100_000)(by_rules)


def wrong_answer(record: Record) -> WrongAnswer | None:
    """Return a record's wrong answer; None where it is right or no score tells."""
    score = right(record)
    # An answer that is right in part has something wrong too.
    return WrongAnswer(record.prompt, record.gold, record.prediction) if score < 1 else None


def wrong_answers(logs: Sequence[EvaluationLog], condition: str = "normal") -> list[WrongAnswer]:
    """Return the distinct wrong answers of all methods under one condition, sorted; no baseline's."""
    found = {
        wrong
        for _, seeds in by_run(logs)
        for conditions in seeds.values()
        for record in conditions.get(condition, {}).values()
        if (wrong := wrong_answer(record)) is not None
    }
    return sorted(found)


def error_rows(
    logs: Sequence[EvaluationLog], kinds: Kinds | None = None, *, condition: str = "normal"
) -> list[Row]:
    """Return how the wrong answers of each run split into the kinds of errors.

    Each kind has two rows, for the measures ``of_errors`` (its share of the wrong answers) and ``of_answers``
    (its share of all scored answers, which compares methods that err more or less often). An answer may have
    several kinds, so that shares may sum to more than 1; ``visual`` is any of the four visual kinds. Runs
    without a scored answer have no rows.

    Args:
        logs: the evaluation logs.
        kinds: the kinds of the wrong answers, where a judge tells them; by the rules otherwise. A wrong
            answer that `kinds` does not have is ``unknown``.
        condition: whose answers.

    Returns:
        Rows of backbone, method, seed ("all" over several), task, condition, by ("rules" or "judge"), kind,
        measure, count, value, ci_low, ci_high and n (wrong, or scored, answers of a seed); for seed "all" the
        count is that of all seeds.
    """
    by = "rules" if kinds is None else "judge"
    return [
        {**row, "condition": condition, "by": by}
        for run, seeds in by_run(logs)
        for row in _run_rows(run, seeds, kinds, condition)
    ]


def agreement_rows(judged: Kinds) -> list[Row]:
    """Return how far a judge's main kinds and those of the rules agree, over the answers that were judged.

    Returns:
        One row of n (answers), same (the share with one main kind by both) and kappa (Cohen's κ, None where
        it is not defined); no row where nothing was judged.
    """
    if not judged:
        return []
    ours = [rules(*wrong)[0] for wrong in judged]
    theirs = [kinds[0] for kinds in judged.values()]
    same = sum(one == other for one, other in zip(ours, theirs, strict=True)) / len(judged)
    kappa = cohen_kappa(ours, theirs)
    return [{"n": len(judged), "same": tidy(same), "kappa": None if kappa is None else tidy(kappa)}]


def _run_rows(
    run: Run, seeds: Mapping[int, Conditions], kinds: Kinds | None, condition: str
) -> Iterator[Row]:
    names = (*ERROR_KINDS, VISUAL_ANY)
    logs = {seed: conditions[condition] for seed, conditions in seeds.items() if condition in conditions}
    samples = {ident: record.cluster for log in logs.values() for ident, record in log.items()}
    order = sorted(samples)
    nothing = [np.nan] * (2 * len(names))
    values = {
        seed: np.array([_values(log[ident], kinds, names) if ident in log else nothing for ident in order])
        for seed, log in logs.items()
    }
    if all(np.isnan(table).all() for table in values.values()):
        return
    counts = {seed: np.nansum(table[:, : len(names)], axis=0) for seed, table in values.items()}
    for seed, rows in estimates(values, [samples[ident] for ident in order]):
        own = sum(counts.values()) if isinstance(seed, str) else counts[seed]
        for place, row in enumerate(rows):
            measure = "of_errors" if place < len(names) else "of_answers"
            kind = names[place % len(names)]
            count = int(np.asarray(own)[place % len(names)])
            yield {**run.place(seed), "kind": kind, "measure": measure, "count": count, **row}


def _values(record: Record, kinds: Kinds | None, names: Sequence[str]) -> list[float]:
    """Return whether a record has each kind of error: among the wrong answers, and among all scored ones."""
    wrong = wrong_answer(record)
    if wrong is None:
        scored = 0.0 if right(record) >= 1 else np.nan
        return [*([np.nan] * len(names)), *([scored] * len(names))]
    own = rules(*wrong) if kinds is None else kinds.get(wrong, ("unknown",))
    found = {*own, *({VISUAL_ANY} if set(own) & set(VISUAL) else ())}
    flags = [float(name in found) for name in names]
    return [*flags, *flags]
