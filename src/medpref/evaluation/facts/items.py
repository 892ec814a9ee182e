"""What a judge's reply lists: JSON of several shapes, lists that are not quite JSON, and plain lines."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from medpref.evaluation.facts.labels import Label, UnreadableError, read_label, read_number

LONGEST = 1_000_000
"""A reply of more characters is not read."""
_DEEPEST = 4
_MOST_LISTS = 50
_FENCE = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
_INLINE_FENCE = re.compile(r"```(?:json)?(.*?)```", re.DOTALL | re.IGNORECASE)
_THOUGHT = re.compile(r"<think>.*?</think>|\A.*?</think>", re.DOTALL | re.IGNORECASE)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'|“([^”]*)”', re.DOTALL)
_LABEL = r"[\"'`*]{0,3}(?:partial|entail|neutral|contradict|full|complete)"
_BETWEEN = re.compile(
    rf"[,;\n]\s*(?={_LABEL}|[\"'`*]{{0,3}}[0-9]{{1,4}}\s?[.):-])|(?<=[\w.,;)\"'])\s(?=[0-9]{{1,4}}[.):]\s?{_LABEL})",
    re.IGNORECASE,
)
_LABEL_KEYS = ("label", "labels", "verdict", "judgement", "judgment", "answer", "result", "relation", "nli")
_NUMBER_KEYS = ("number", "index", "fact_number", "fact_id", "fact_index", "no", "id", "idx", "fact")


class Item(NamedTuple):
    """One label of a reply, with its number where it has one; `label` is None where the words give none."""

    number: int | None
    label: Label | None
    words: str


def list_items(content: str) -> list[Item]:
    """Return the labels that a reply lists, in its order.

    Raises:
        UnreadableError: it lists nothing.
    """
    if len(content) > LONGEST:
        raise UnreadableError("the reply is too long to be a list of labels")
    text = _bare(content)
    if not text:
        raise UnreadableError("the reply is empty")
    for read in (_whole_json, _inner_json, _quoted_items, _line_items):
        items = read(text)
        if items:
            return items
    raise UnreadableError("no list of labels is in the reply")


def _bare(content: str) -> str:
    """Return a reply without thoughts and, where it has one code block with something in it, that block."""
    text = content.replace("\ufeff", "").replace("\x00", "")
    if "</think>" in text.lower():
        text = _THOUGHT.sub("", text)
    blocks = [block for block in _FENCE.findall(text) or _INLINE_FENCE.findall(text) if block.strip()]
    if len(blocks) == 1 and _mentions_label(blocks[0]):
        return str(blocks[0]).strip()
    return re.sub(r"\A\s*```(?:json)?|```\s*\Z", "", text, flags=re.IGNORECASE).strip()


def _mentions_label(text: str) -> bool:
    return re.search(r"entail|neutral|contradict|partial", text, re.IGNORECASE) is not None


def _parse(text: str) -> Any:
    """Return the JSON value of `text`, or None."""
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _whole_json(text: str) -> list[Item] | None:
    return items_of(_parse(text))


def _inner_json(text: str) -> list[Item] | None:
    """Read the JSON list or object that stands between the words of a reply.

    Raises:
        UnreadableError: there are two that differ.
    """
    found: list[list[Item]] = []
    single: list[Item] = []
    place = 0
    for _ in range(_MOST_LISTS):
        opening = re.compile(r"[\[{]").search(text, place)
        if opening is None:
            break
        value, place = _decode(text, opening.start())
        items = items_of(value)
        if items and isinstance(value, dict) and len(items) == 1:
            single += items
        elif items:
            found.append(items)
    if single and not found:
        # An object for each label, without a list around them or commas between.
        return single
    if any(_said(items) != _said(found[0]) for items in found):
        raise UnreadableError("the reply holds two lists of labels that differ")
    return found[0] if found else _mended(text)


def _decode(text: str, start: int) -> tuple[Any, int]:
    """Return the JSON value that begins at `start` and the place behind it; None where there is none."""
    try:
        return json.JSONDecoder(strict=False).raw_decode(text, start)
    except (ValueError, RecursionError):
        return None, start + 1


def _mended(text: str) -> list[Item] | None:
    """Read a list or object with a comma behind its last item, or an object in the brackets of a list."""
    for opening, closing in ("[]", "{}"):
        first, last = text.find(opening), text.rfind(closing)
        if 0 <= first < last:
            inner = re.sub(r",(\s*[\]}])", r"\1", text[first : last + 1])
            found = items_of(_parse(inner)) or items_of(_parse("{" + inner[1:-1] + "}"))
            if found:
                return found
    return None


def _said(items: list[Item]) -> list[tuple[int | None, Label | None]]:
    return [(item.number, item.label) for item in items]


def items_of(value: Any, depth: int = 0) -> list[Item] | None:
    """Return the labels that a JSON value lists, or None where it is no list of labels."""
    if depth > _DEEPEST or value is None:
        return None
    if isinstance(value, str):
        inner = _parse(value) if value.lstrip()[:1] in ("[", "{") else None
        found = items_of(inner, depth + 1)
        return found or ([_item(value)] if depth == 0 and read_label(read_number(value)[1]) else None)
    if isinstance(value, Mapping):
        return _of_object(value, depth)
    return _of_list(value, depth) if isinstance(value, list) else None


def _of_list(values: list[Any], depth: int) -> list[Item] | None:
    if len(values) == 1 and isinstance(values[0], list | dict):
        inner = items_of(values[0], depth + 1)
        if inner:
            return inner
    if len(values) == 1 and isinstance(values[0], str) and "\n" in values[0].strip():
        return _line_items(values[0])
    items = [_of_entry(value) for value in values]
    return items if any(item.label for item in items) else None


def _of_entry(value: Any) -> Item:
    if isinstance(value, str):
        return _item(value)
    if isinstance(value, list) and value and all(isinstance(part, str | int) for part in value):
        return _item(": ".join(str(part) for part in value))
    if isinstance(value, Mapping):
        return _of_mapping(value)
    return Item(None, None, str(value)[:80])


def _of_mapping(entry: Mapping[str, Any]) -> Item:
    """Read one object of a list: its label by a known key, or its only value that is one."""
    lowered = {str(key).casefold(): value for key, value in entry.items()}
    said = next((lowered[key] for key in _LABEL_KEYS if isinstance(lowered.get(key), str)), None)
    if said is None and len(entry) == 1:
        key, value = next(iter(entry.items()))
        return _numbered(str(key), str(value))
    if said is None:
        return Item(None, None, str(dict(entry))[:80])
    item = _item(said)
    number = next((n for key in _NUMBER_KEYS if (n := _as_number(lowered.get(key))) is not None), None)
    return item if item.number is not None else item._replace(number=number)


def _as_number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,4}", value) else None


def _of_object(entry: Mapping[str, Any], depth: int) -> list[Item] | None:
    lists = [value for value in entry.values() if isinstance(value, list | dict)]
    named = [entry[key] for key in _LABEL_KEYS if isinstance(entry.get(key), list | dict)]
    for candidates in (named, lists):
        found = [items for value in candidates if (items := items_of(value, depth + 1))]
        if len(found) == 1:
            return found[0]
    if lists or not entry:
        return None
    if depth == 0 and any(str(key).casefold() in _LABEL_KEYS for key in entry):
        inner = _of_mapping(entry)
        return [inner] if inner.label else None
    items = [_numbered(str(key), str(value)) for key, value in entry.items()]
    return items if any(item.label for item in items) else None


def _numbered(key: str, value: str) -> Item:
    """Read "1": "Entailment", "fact_1": "1. Entailment", and a fact with its label."""
    item = _item(value)
    number, rest = read_number(key)
    if item.number is None and number is not None and not rest.strip():
        return item._replace(number=number)
    return item


def _item(words: str) -> Item:
    number, rest = read_number(words)
    return Item(number, read_label(rest), words.strip()[:80])


def _quoted_items(text: str) -> list[Item] | None:
    """Read a list of quoted strings that is no JSON: commas are missing or too many, or the quotes single."""
    first, last = text.find("["), text.rfind("]")
    if not 0 <= first < last:
        first, last = text.find("{"), text.rfind("}")
    inner = text[first + 1 : last] if 0 <= first < last else ""
    found = [next(part for part in match.groups() if part is not None) for match in _QUOTED.finditer(inner)]
    # Words outside the quotes belong to some item, and nobody can tell to which.
    if not found or re.search(r"[^\s,;\[\]]", _QUOTED.sub(" ", inner)):
        return None
    items = [_item(part) for part in found if part.strip()]
    return items if any(item.label for item in items) else None


def _line_items(text: str) -> list[Item] | None:
    """Read one label a line, or a list in brackets without quotes; other lines are prose."""
    first, last = text.find("["), text.rfind("]")
    bracketed = text[first + 1 : last] if 0 <= first < last else ""
    parts = list(_parts(bracketed)) if "\n" not in bracketed.strip() and bracketed else text.splitlines()
    if len(parts) <= 1:
        parts = list(_parts(text))
    items = [_item(part) for part in parts if part.strip(" \t\"'`,[]{}*_")]
    numbered = [item for item in items if item.number is not None]
    if any(item.label for item in numbered):
        return numbered
    bare = [item for item in items if item.label and _is_short(item.words)]
    return bare or None


def _is_short(words: str) -> bool:
    # Without a number, a line of prose may begin with a label too: "Neutral facts are not mentioned."
    return re.match(r"\W*[\w-]+(?:\s+[\w-]+)?\W*(?:$|[:–—(|]|\s-\s|\.\s)", words) is not None


def _parts(text: str) -> Iterator[str]:
    """Yield the parts of a single line: at commas, semicolons and numbers, where a label follows."""
    yield from _BETWEEN.split(text)
