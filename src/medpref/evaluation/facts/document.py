"""What ``medpref facts score`` writes and prints."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from medpref.evaluation.facts.scores import SampleScore, Scores, estimate
from medpref.evaluation.intervals import Estimate

FIGURES = ("comp", "hall", "precision", "f1")
VERSION = 1
SHOWN = 10
"""How many reasons are printed."""


def build_document(
    scores: Scores, *, legacy: bool = False, responses: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the content of OUT.json.

    Returns:
        ``comp``, ``hall`` (None where nothing is scored), ``n`` (samples that the averages are over; with
        `legacy` those with a reply, failures included as zeros), ``unscored`` (the others), ``intervals``
        (figure → [low, high], the 95 % cluster bootstrap, None where it cannot be computed), ``reasons``
        (why samples are unscored, with counts), ``notes`` and ``samples``. With both directions also
        ``precision``, ``f1`` and ``n_precision``, ``n_f1``. With `responses` also ``responses``: how many,
        ``empty``, ``distinct_rate``, ``mean_words``.
    """
    found = {name: estimate(scores.samples, name) for name in FIGURES}
    shown = ["comp", "hall", *(name for name in ("precision", "f1") if found[name].n)]
    document: dict[str, Any] = {"version": VERSION, "legacy": legacy}
    document |= {name: _number(found[name].value) for name in shown}
    document |= {"n": found["comp"].n, "unscored": len(scores.samples) - found["comp"].n}
    document |= {f"n_{name}": found[name].n for name in shown[2:]}
    document["intervals"] = {name: _interval(found[name]) for name in shown}
    document["reasons"] = _reasons(scores.samples)
    document["notes"] = list(scores.notes)
    if responses is not None:
        document["responses"] = describe([responses.get(s.id) for s in scores.samples])
    document["samples"] = [_sample(sample, responses) for sample in scores.samples]
    return document


def describe(responses: Sequence[str | None]) -> dict[str, Any]:
    """Return how many responses there are, how many are empty, and how much they differ; None is missing.

    ``distinct_rate`` is distinct responses by responses: a model that says the same of every image has a
    small one. ``mean_words`` counts what stands between blanks.
    """
    given = [response for response in responses if response is not None]
    words = [len(response.split()) for response in given]
    return {
        "n": len(given),
        "missing": len(responses) - len(given),
        "empty": sum(not response.strip() for response in given),
        "distinct": len({response.strip() for response in given}),
        "distinct_rate": len({response.strip() for response in given}) / len(given) if given else None,
        "mean_words": sum(words) / len(words) if words else None,
    }


def summary_lines(document: Mapping[str, Any]) -> list[str]:
    """Return what is printed: comp, hall, n and unscored first, a line each."""
    lines = []
    for name in FIGURES:
        if name in document:
            low, high = document["intervals"][name] or (None, None)
            over = f" over {document[f'n_{name}']}" if f"n_{name}" in document else ""
            lines.append(f"{name}: {_shown(document[name])} [{_shown(low)}, {_shown(high)}]{over}")
    lines += [f"n: {document['n']}", f"unscored: {document['unscored']}"]
    reasons = list(document["reasons"].items())
    lines += [f"  {count} × {reason}" for reason, count in reasons[:SHOWN]]
    if len(reasons) > SHOWN:
        lines.append(f"  and {len(reasons) - SHOWN} other reasons: see the samples")
    if responses := document.get("responses"):
        rate, words = _shown(responses["distinct_rate"]), responses["mean_words"]
        lines.append(
            f"responses: {responses['n']}, {responses['empty']} empty, {responses['missing']} missing, "
            f"distinct-output rate {rate}, mean length {'–' if words is None else f'{words:.1f}'} words"
        )
    lines += [f"note: {note}" for note in document["notes"]]
    if document["legacy"]:
        lines.append("These are the released script's numbers, with its faults; see docs/facts.md.")
    return lines


def _sample(sample: SampleScore, responses: Mapping[str, str] | None) -> dict[str, Any]:
    row: dict[str, Any] = {"id": sample.id}
    row |= {name: sample.scores.get(name) for name in ("comp", "hall")}
    row |= {name: sample.scores[name] for name in ("precision", "f1") if name in sample.scores}
    row["labels"] = None if sample.labels is None else [label.value for label in sample.labels]
    row["reason"] = sample.reason
    if responses is not None:
        response = responses.get(sample.id)
        row["response"] = response
        row["words"] = None if response is None else len(response.split())
    return row


def _reasons(samples: Sequence[SampleScore]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for sample in samples:
        if sample.reason is not None:
            counts[sample.reason] = counts.get(sample.reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _interval(found: Estimate) -> list[float] | None:
    return None if math.isnan(found.low) else [found.low, found.high]


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
