"""A judge's replies as they lie on disk: rows of OpenAI's batch output, and what may stand in their place."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medpref.errors import InputError
from medpref.evaluation.facts.files import clean, id_text

_CONTENT_KEYS = ("content", "reply", "output", "text", "labels")
SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True)
class ReplyRow:
    """One reply.

    Attributes:
        line: its line in the file, or its place in an array, from 1.
        custom_id: what the request was called; None where the row has no name.
        content: the judge's words, or None.
        error: why there are none, or None.
    """

    line: int
    custom_id: str | None
    content: str | None
    error: str | None = None


def read_replies(path: Path) -> list[ReplyRow]:
    """Read a file of replies: JSON Lines, or a JSON array. A line that cannot be read is a row with an error.

    Raises:
        InputError: the file is missing or empty, or no line of it is a reply.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except FileNotFoundError:
        raise InputError("there is no such file", where=str(path)) from None
    except IsADirectoryError:
        raise InputError("this is a folder, not a file", where=str(path)) from None
    rows = [_row(number, value) for number, value in _values(text)]
    if not any(row.custom_id is not None for row in rows):
        raise InputError(
            "no line of this file is a reply with a custom_id" if rows else "the file is empty",
            where=str(path),
            remedy="Replies are the rows of a batch's output: custom_id and response.body.choices.",
        )
    return rows


def _values(text: str) -> list[tuple[int, Any]]:
    whole = _parse(text) if text.lstrip()[:1] in ("[", "{") else None
    if isinstance(whole, list):
        return list(enumerate(whole, start=1))
    if isinstance(whole, dict):
        return [(1, whole)]
    return [(n, _parse(line)) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _row(line: int, value: Any) -> ReplyRow:
    if not isinstance(value, Mapping):
        return ReplyRow(line, None, None, "the line is no JSON object, perhaps cut short")
    name = next((value[key] for key in ("custom_id", "id") if value.get(key) is not None), None)
    if not isinstance(name, str | int | float) or not id_text(name):
        return ReplyRow(line, None, None, "the row has no custom_id")
    content, error = _content(value)
    return ReplyRow(line, id_text(name), content, error)


def _content(row: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the judge's words, or why there are none."""
    response = row.get("response")
    status = response.get("status_code") if isinstance(response, Mapping) else None
    if isinstance(status, int) and status not in SUCCESS:
        return None, f"the request failed with status {status}"
    for holder in (response, row):
        body = holder.get("body", holder) if isinstance(holder, Mapping) else holder
        content = _message(body)
        if content is not None:
            return content, None
    told = row.get("error")
    if told:
        words = told.get("message") or told.get("code") if isinstance(told, Mapping) else told
        return None, f"the request failed: {clean(str(words)[:200])}"
    return None, "the row holds no reply"


def _message(body: Any) -> str | None:
    if isinstance(body, str):
        return clean(body)
    if not isinstance(body, Mapping):
        return None
    choices = body.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        message = choices[0].get("message")
        return _words(message.get("content") if isinstance(message, Mapping) else choices[0].get("text"))
    return next((words for key in _CONTENT_KEYS if (words := _words(body.get(key))) is not None), None)


def _words(content: Any) -> str | None:
    """Return a message's content as one text; a list may be parts of a text, or the labels themselves."""
    if isinstance(content, str):
        return clean(content)
    if isinstance(content, list) and content and all(_is_part(part) for part in content):
        return clean("".join(str(part["text"]) for part in content))
    return json.dumps(content) if isinstance(content, list | dict) else None


def _is_part(part: Any) -> bool:
    return isinstance(part, Mapping) and isinstance(part.get("text"), str) and "type" in part
