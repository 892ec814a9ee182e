"""Files of facts and of responses, in the shapes that people have on disk."""

import ast
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medpref.errors import InputError

_FACT_KEYS = ("atomic_facts", "facts", "atomic_fact", "fact_list", "claims")
_FACT_WORDS = ("fact", "text", "atomic_fact", "claim", "statement", "content")
_ID_KEYS = ("id", "custom_id", "question_id", "sample_id", "qid", "image_id", "study_id")
_TEXT_KEYS = ("response", "text", "prediction", "answer", "output", "generated", "model_answer", "caption")
_GOLD_KEYS = ("gold", "reference", "report", "caption", "gpt4_answer", "answer", "text", "response")
_CLUSTER_KEYS = ("cluster", "patient", "patient_id", "subject_id", "image", "image_path", "images")
_NUMBERED = re.compile(r"(?:^|\n)[ \t]*(?:\(?[0-9]{1,4}[.):]|[-*•])[ \t]*")


@dataclass(frozen=True, slots=True)
class FactRow:
    """The atomic facts of one sample.

    Attributes:
        id: the sample's, as a string.
        facts: the facts in their order.
        cluster: what intervals are clustered by: the patient or image where the row names one, else the id.
        fault: why the row cannot be scored, or None.
    """

    id: str
    facts: tuple[str, ...]
    cluster: str
    fault: str | None = None


def read_facts(path: Path) -> list[FactRow]:
    """Read a file of facts.

    The file is a JSON array of rows, JSON Lines, or an object keyed by id. A row has an id and
    `atomic_facts`: a list of strings, a list of objects with the fact, either of them written as a JSON
    string, or one string with a numbered fact on each line.

    Raises:
        InputError: the file is missing, is no JSON, or no row of it holds facts.
    """
    rows = [_fact_row(number, row) for number, row in enumerate(read_rows(path, _FACT_KEYS), start=1)]
    if not any(row.facts for row in rows):
        raise InputError(
            "no row of this file holds atomic facts",
            where=str(path),
            remedy='A row looks like {"id": "17", "atomic_facts": ["The heart is enlarged.", …]}.',
        )
    return rows


def read_texts(path: Path, *, gold: bool = False, strict: bool = True) -> dict[str, str]:
    """Read responses by id, or reference texts where `gold`; null is an empty text.

    Args:
        path: rows with id and text, in the forms that `read_rows` reads.
        gold: look for the names of a reference first.
        strict: refuse rows without id or text and ids with several texts, instead of leaving them out.

    Raises:
        InputError: the file is missing or no JSON; where `strict`, a row has no id or no text, or an id has
            two texts.
    """
    keys = _GOLD_KEYS if gold else _TEXT_KEYS
    found: dict[str, str] = {}
    several: set[str] = set()
    for number, row in enumerate(read_rows(path, keys), start=1):
        ident = _first(row, _ID_KEYS) if isinstance(row, Mapping) else None
        text = _text(row, keys) if isinstance(row, Mapping) else None
        if ident is None or text is None:
            if strict:
                lacks = "id" if ident is None else f"text (one of {', '.join(keys)})"
                raise InputError(f"the row has no {lacks}", where=f"{path}, row {number}")
            continue
        name = id_text(ident)
        if found.setdefault(name, text) != text:
            several.add(name)
            if strict:
                raise InputError(
                    f"two rows with the id {name!r} have different texts", where=f"{path}, row {number}"
                )
    return {name: text for name, text in found.items() if name not in several}


def _text(row: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    there = [key for key in keys if key in row]
    said = next((row[key] for key in there if isinstance(row[key], str | int | float)), None)
    if said is None:
        return "" if there and all(row[key] is None for key in there) else None
    return clean(str(said))


def read_rows(path: Path, value_keys: tuple[str, ...]) -> Iterator[Any]:
    """Yield the rows of a JSON array, of JSON Lines, or of an object keyed by id or around a list of rows.

    Args:
        path: the file.
        value_keys: what the value of an object keyed by id is called as a field.

    Raises:
        InputError: the file is missing, empty, or neither.
    """
    value = _load(path)
    if isinstance(value, list):
        yield from value
        return
    inner = [entry for entry in value.values() if isinstance(entry, list) and _is_rows(entry, value_keys)]
    if len(inner) == 1 and "id" not in value:
        yield from inner[0]
        return
    if any(key in value for key in (*_ID_KEYS[:2], *value_keys)):
        yield value
        return
    for key, entry in value.items():
        yield {"id": key, **entry} if isinstance(entry, Mapping) else {"id": key, value_keys[0]: entry}


def _is_rows(entries: list[Any], value_keys: tuple[str, ...]) -> bool:
    return bool(entries) and all(
        isinstance(row, Mapping)
        and _first(row, _ID_KEYS) is not None
        and any(key in row for key in value_keys)
        for row in entries
    )


def _load(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError("there is no such file", where=str(path)) from None
    except IsADirectoryError:
        raise InputError("this is a folder, not a file", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise InputError(f"the file is no UTF-8 text ({error.reason})", where=str(path)) from None
    if not text.strip():
        raise InputError("the file is empty", where=str(path))
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return list(_lines(text, path))
    if not isinstance(value, list | dict):
        raise InputError("the file holds neither rows nor an object", where=str(path))
    return value


def _lines(text: str, path: Path) -> Iterator[Any]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                raise InputError(
                    "this is neither JSON nor JSON Lines: the line is no JSON, perhaps cut short",
                    where=f"{path}, line {number}",
                ) from None


def _fact_row(number: int, row: Any) -> FactRow:
    if not isinstance(row, Mapping):
        return FactRow(f"(row {number})", (), f"row {number}", "the row is no object")
    ident = _first(row, _ID_KEYS)
    if ident is None:
        return FactRow(f"(row {number})", (), f"row {number}", "the row has no id")
    name = id_text(ident)
    value = next((row[key] for key in _FACT_KEYS if key in row), None)
    try:
        facts = tuple(_facts(value))
    except ValueError as error:
        return FactRow(name, (), _cluster(row, name), str(error))
    return FactRow(name, facts, _cluster(row, name), None if facts else "no facts")


def _facts(value: Any) -> Iterator[str]:
    """Yield the facts of one row. Raises `ValueError` where they have no known form."""
    if value is None:
        return
    if isinstance(value, str):
        yield from _of_string(value)
    elif isinstance(value, Mapping):
        yield from _facts(next((value[key] for key in _FACT_KEYS if key in value), list(value.values())))
    elif isinstance(value, list):
        for entry in value:
            fact = _first_text(entry, _FACT_WORDS) if isinstance(entry, Mapping) else entry
            if not isinstance(fact, str):
                raise ValueError("a fact is no text")
            if fact.strip():
                yield clean(fact.strip())
    else:
        raise ValueError("the facts are neither a list nor a text")


def _of_string(text: str) -> Iterator[str]:
    bare = re.sub(r"\A\s*```(?:json)?|```\s*\Z", "", text).strip()
    if bare[:1] in ("[", "{") and (value := _literal(bare)) is not None:
        yield from _facts(value)
        return
    numbered = _NUMBERED.search(bare)
    if numbered and bare[: numbered.start()].rstrip().endswith(":"):
        # "Atomic facts:" stands over the list and is none of them.
        bare = bare[numbered.start() :]
    parts = _NUMBERED.split(bare) if numbered else bare.split("\n")
    yield from (clean(" ".join(part.split())) for part in parts if part.strip())


def _literal(text: str) -> Any:
    """Return the list or object that a text writes in JSON or, with single quotes, in Python; else None."""
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(re.sub(r",(\s*[\]}])\Z", r"\1", text))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        return value if isinstance(value, list | dict) else None
    return None


def _first(row: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    found = (row[key] for key in keys if row.get(key) is not None)
    return next(
        (value for value in found if isinstance(value, str | int | float) and str(value).strip()), None
    )


def _first_text(row: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((row[key] for key in keys if isinstance(row.get(key), str)), None)


def clean(text: str) -> str:
    """Return a text without halves of surrogate pairs, which JSON can hold and no file can."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def id_text(value: Any) -> str:
    """Return an id as text: 17, 17.0 and "17 " are the same."""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    return clean(str(value).strip())


def _cluster(row: Mapping[str, Any], name: str) -> str:
    for key in _CLUSTER_KEYS:
        value = row.get(key)
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, str | int) and str(first).strip():
            return clean(str(first))
    return name
