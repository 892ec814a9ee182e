"""Label items into a file of replies as they come; started again, only what has no labels is asked."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medpref.errors import InputError
from medpref.evaluation.facts.files import FactRow
from medpref.evaluation.facts.judges.base import Item, Judge, Judgement
from medpref.evaluation.facts.labels import UnreadableError
from medpref.evaluation.facts.replies import read_labels
from medpref.files import content_hash, disk_errors, write_jsonl

Advance = Callable[[int], None]
MARK = "medpref"


@dataclass(slots=True)
class Judged:
    """What a run made.

    Attributes:
        rows: a reply for each item that has one, in the order of the items.
        kept: how many were there before.
        readable: how many give a label for each fact.
        reasons: the sample's id → why it has no labels.
        left_out: the sample's id → why it was not judged: no facts, no text.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    kept: int = 0
    readable: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def make_items(rows: Sequence[FactRow], texts: Mapping[str, str]) -> tuple[list[Item], dict[str, str]]:
    """Return what can be judged, and of each other sample why not. Ids have to be equal."""
    items: dict[str, Item] = {}
    left_out: dict[str, str] = {}
    for row in dict.fromkeys(rows):
        if row.fault is not None:
            left_out[row.id] = row.fault
        elif row.id not in texts:
            left_out[row.id] = "no text with this id"
        elif row.id in items or row.id in left_out:
            items.pop(row.id, None)
            left_out[row.id] = "several rows of facts have this id, and differ"
        else:
            items[row.id] = Item(row.id, row.facts, texts[row.id])
    return list(items.values()), left_out


def judge_items(
    judge: Judge, items: Sequence[Item], path: Path, *, advance: Advance = lambda _: None
) -> Judged:
    """Judge `items` into `path`, in the shape of a batch's output; a killed run goes on where it was.

    Replies that give no labels are asked for again by the next run. A finished file has the items' order.

    Args:
        judge: who judges.
        items: what is judged; ids are unique.
        path: the JSONL file of replies.
        advance: called with the number of items done.

    Raises:
        InputError: `path` holds replies of another judge, or of none that medpref knows.
        RunError: the judge stopped working or waits for a batch, or `path` cannot be written. What came is
            kept.
    """
    mark = content_hash("facts judge, version 1", judge.identity)
    by_id = {item.id: item for item in items}
    found = _read(path, mark, by_id)
    advance(len(found))
    kept = len(found)
    write_jsonl(path, found.values())
    todo = [item for item in items if item.id not in found]
    reasons: dict[str, str] = {}
    with disk_errors(path), path.open("a", encoding="utf-8") as file:
        for judgement in judge.judge(todo):
            ident = judgement.item.id
            found[ident] = _row(judgement, judge.identity, mark)
            file.write(json.dumps(found[ident], ensure_ascii=False) + "\n")
            file.flush()
            if (reason := _fault(judgement)) is not None:
                reasons[ident] = reason
            advance(1)
    rows = [found[item.id] for item in items if item.id in found]
    write_jsonl(path, rows)
    return Judged(rows, kept, len(rows) - len(reasons), reasons)


def _key(item: Item) -> str:
    return content_hash(list(item.facts), item.text)


def _row(judgement: Judgement, identity: Mapping[str, Any], mark: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": judgement.content}
    body = {
        "object": "chat.completion",
        "model": identity.get("model", identity["judge"]),
        "choices": [{"index": 0, "message": message, "finish_reason": judgement.finish}],
    }
    failed = judgement.content is None
    return {
        "custom_id": judgement.item.id,
        "response": None if failed else {"status_code": 200, "body": body},
        "error": {"code": "no_reply", "message": judgement.reason} if failed else None,
        MARK: {"judge": mark, "item": _key(judgement.item)},
    }


def _fault(judgement: Judgement) -> str | None:
    """Return why a judgement gives no labels, or None."""
    if judgement.content is None:
        return judgement.reason or "no reply"
    try:
        read_labels(judgement.content, len(judgement.item.facts))
    except UnreadableError as error:
        return judgement.reason or str(error)
    return None


def _read(path: Path, mark: str, items: Mapping[str, Item]) -> dict[str, dict[str, Any]]:
    """Return the rows of an earlier run that still hold: readable, and about the same facts and text."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return {}
    except (UnicodeDecodeError, OSError):
        raise _foreign(path) from None
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line) if line.strip() else None
        except ValueError:
            # A kill cuts the last line short, and no other.
            if number == len(lines):
                continue
            raise _foreign(path) from None
        if row is None:
            continue
        own = row.get(MARK) if isinstance(row, dict) else None
        if not isinstance(own, dict) or own.get("judge") != mark:
            raise _foreign(path)
        item = items.get(row.get("custom_id", ""))
        if item is not None and own.get("item") == _key(item) and _is_readable(row, len(item.facts)):
            found[item.id] = row
    return found


def _is_readable(row: Mapping[str, Any], count: int) -> bool:
    try:
        read_labels(row["response"]["body"]["choices"][0]["message"]["content"], count)
    except (UnreadableError, TypeError, KeyError, IndexError):
        return False
    return True


def _foreign(path: Path) -> InputError:
    return InputError(
        "this file holds something else than replies of this judge with these settings",
        where=str(path),
        remedy="Judge with the same settings, or write to another file.",
    )
