"""A review as logs: what was drawn, and what each reviewer said last."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from medpref.files import write_json, write_jsonl, write_text
from medpref.review.access import Access
from medpref.review.judgement import AnswerJudgement, Preference
from medpref.review.store import Saved, Store

VERSION = 1
LOGS = Path("logs") / "review"
PLAN, JUDGEMENTS = "review.json", "judgements.jsonl"


def export_logs(store: Store, access: Access, run: Path) -> Path:
    """Write ``logs/review`` of a run, each file whole or not at all; return the folder.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    folder = run / LOGS
    # Judgements first: a plan without its newest judgements misses some, which the next export mends.
    write_jsonl(folder / JUDGEMENTS, rows(store))
    write_json(folder / PLAN, {"version": VERSION, "reviewers": access.reviewers, **store.plan.to_json()})
    return folder


def rows(store: Store) -> Iterator[dict[str, Any]]:
    """Yield one row for each reviewer and item, with the methods that the reviewer did not see."""
    return (_row(store, saved) for saved in store.all())


def _row(store: Store, saved: Saved) -> dict[str, Any]:
    item = store.plan.by_id[saved.item]
    question = item.question
    return {
        "reviewer": saved.reviewer,
        "item": item.id,
        "kind": item.kind,
        "question": question.key,
        "backbone": question.backbone,
        "seed": question.seed,
        "task": question.task,
        "sample": question.sample,
        "answers": [{"key": a.key, "text": a.text, "methods": list(a.methods)} for a in item.answers],
        **_said(saved.judgement),
        "comment": saved.judgement.comment,
        "opened": list(saved.judgement.opened),
        "complete": saved.judgement.complete,
        "revision": saved.revision,
        "saved_at": saved.saved_at,
    }


def _said(judgement: AnswerJudgement | Preference) -> dict[str, Any]:
    return judgement.model_dump(mode="json", exclude={"comment", "opened"})


_COLUMNS = (
    "reviewer",
    "item",
    "kind",
    "backbone",
    "seed",
    "task",
    "sample",
    "methods",
    "answer",
    "other_methods",
    "other_answer",
    "verdict",
    "errors",
    "harm",
    "preferred",
    "comment",
    "opened",
    "complete",
    "revision",
    "saved_at",
)
_SIDES = ("answer", "other answer")
# A spreadsheet runs cells that begin so as formulas, and answers and comments are anybody's text.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_table(path: Path, found: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV for spreadsheets; a text that looks like a formula gets a leading quote.

    Raises:
        RunError: the file cannot be written.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(_cells(row) for row in found)
    write_text(path, buffer.getvalue())


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    first, second = (*row["answers"], {})[:2]
    preferred = {answer["key"]: place for answer, place in zip(row["answers"], _SIDES, strict=False)}
    flat = {
        **row,
        "answer": first["text"],
        "methods": ", ".join(first["methods"]),
        "other_answer": second.get("text", ""),
        "other_methods": ", ".join(second.get("methods", ())),
        "errors": ", ".join(row.get("errors", ())),
        "opened": ", ".join(row["opened"]),
        "preferred": preferred.get(row.get("preferred"), row.get("preferred")),
        "complete": "yes" if row["complete"] else "no",
    }
    return {name: _safe(flat.get(name)) for name in _COLUMNS}


def _safe(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
