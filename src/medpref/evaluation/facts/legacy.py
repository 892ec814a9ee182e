"""The numbers that the study's released NLI script gives, faults included: to compare with published tables.

Reproduced, as medpref's notes on that script describe them:

1. Only a reply that is a JSON list as it stands is read. Any other counts as 0 of 0 and is averaged in as 0.
2. After "12. " is stripped, a label counts only if it is spelt exactly "Entailment", "Partial Entailment" or
   "Contradiction". Any other adds nothing, and stays in the denominator.
3. The denominator is the number of labels in the reply; the number of facts is not looked at.
4. A sample takes the first reply in the file whose custom_id starts with the sample's id: "1" takes "10"'s.
5. Rows of facts with the same id are one sample.
6. Requests without a result (errors, expired batches), and samples without a reply, are dropped.

What the notes leave open was decided so: "dropped" labels stay in the denominator, as the notes count
"scoring" labels among them; a reply that is JSON but no list is a failure; duplicate rows keep the place of
the first. Where no custom_id starts with any id, what all of them begin with ("task-") is taken off first.
"""

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from medpref.evaluation.facts.batch_rows import ReplyRow
from medpref.evaluation.facts.files import FactRow
from medpref.evaluation.facts.scores import SampleScore, Scores

_NUMBER = re.compile(r"^\s*[0-9]+\.\s*")
_COMP = {"Entailment": 1.0, "Partial Entailment": 0.5}


class _Counted(NamedTuple):
    comp: float
    hall: float
    failed: bool


def score_legacy(facts: Sequence[FactRow], replies: Sequence[ReplyRow]) -> Scores:
    """Return what the released script makes of the files; see the module for its faults."""
    answered = [reply for reply in replies if reply.custom_id is not None and reply.content is not None]
    first = _first_places([reply.custom_id or "" for reply in answered], {row.id for row in facts})
    samples, failures = [], 0
    rows: dict[str, FactRow] = {}
    for row in facts:
        rows.setdefault(row.id, row)
    for row in rows.values():
        if row.id not in first:
            samples.append(SampleScore(row.id, row.cluster, None, {}, "no reply"))
            continue
        reply = answered[first[row.id]]
        counted = _count(reply.content or "")
        failures += counted.failed
        reason = "no JSON list: counted as 0 of 0" if counted.failed else None
        scores = {"comp": counted.comp, "hall": counted.hall}
        samples.append(SampleScore(row.id, row.cluster, None, scores, reason))
    notes = [f"{failures} replies are no JSON list and count as zeros"] if failures else []
    return Scores(tuple(samples), tuple(notes))


def _first_places(custom_ids: list[str], ids: set[str]) -> dict[str, int]:
    """Return beginning → the first custom_id that has it; without what all have where none is an id's."""
    found = _beginnings(custom_ids)
    if not custom_ids or not ids.isdisjoint(found):
        return found
    lowest, highest = min(custom_ids), max(custom_ids)
    pairs = zip(lowest, highest, strict=False)
    common = next((n for n, (a, b) in enumerate(pairs) if a != b), len(lowest))
    length = len(re.sub(r"[^\W_]*\Z", "", lowest[:common]))
    return _beginnings([name[length:] for name in custom_ids])


def _beginnings(names: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for place, name in enumerate(names):
        for end in range(1, len(name) + 1):
            found.setdefault(name[:end], place)
    return found


def _count(content: str) -> _Counted:
    try:
        labels = json.loads(content)
    except (ValueError, RecursionError):
        labels = None
    if not isinstance(labels, list):
        return _Counted(0.0, 0.0, failed=True)
    if not labels:
        return _Counted(0.0, 0.0, failed=False)
    names = [_NUMBER.sub("", label) if isinstance(label, str) else "" for label in labels]
    comp = sum(_COMP.get(name, 0.0) for name in names)
    return _Counted(comp / len(labels), names.count("Contradiction") / len(labels), failed=False)
