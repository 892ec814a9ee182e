"""What an answer says once its wrapping is gone: markup, thinking aloud, code fences and JSON."""

import html
import json
import re
from typing import Any

from medpref.evaluation.scores.text import fold

# A longer answer is read up to here: what takes pages to appear is no answer, and the time to read one stays
# bounded.
LONGEST = 10_000

_HIDDEN = re.compile(
    r"<(script|style|think|thinking|thought|reasoning|scratchpad)\b[^>]*>.*?(?:</\1\s*>|$)", re.DOTALL
)
# Chat templates may open the thinking in the prompt, so that the answer only closes it.
_THOUGHT_BEFORE = re.compile(r"^.*</(?:think|thinking|thought|reasoning|scratchpad)\s*>", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?(?:-->|$)", re.DOTALL)
_TAG = re.compile(r"</?[a-z!][^<>]*>")
_FENCE = re.compile(r"^\s*```\w*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)
_EMPHASIS = re.compile(r'[*_`#~"“”]')
_BLANKS = re.compile(r"[^\S\n]+")
# The keys under which models put an answer into JSON, the surest first.
_KEYS = ("final_answer", "answer", "response", "prediction", "label", "choice", "output", "result")
_WORDS = {True: "yes", False: "no"}

# Words to whoever scores the answer are no answer, whatever else they contain.
_TO_THE_SCORER = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b[^.!?]{0,60}"
    r"\b(?:instructions?|prompts?|questions?|rules?|rubric|above)\b"
    r"|\b(?:mark|grade|score|rate|count|treat|accept)\b[^.!?]{0,40}\b(?:correct|right|true)\b"
    r"|^\W*system\s*:"
)
_LEAD = re.compile(
    r"^\W*(?:(?:(?:the|my|final|short|correct|best|right)\s+)*(?:answer|response|choice|option)"
    r"(?:\s+is)?\s*[:,-]?\s+|(?:assistant|answer|a)\s*:\s*)"
)


def plain(text: str) -> str:
    """Return `text` in one case, without markup, thinking aloud and emphasis; line breaks stay.

    An answer wrapped in JSON (``{"answer": "yes"}``) is taken out, a true or false there being yes or no; an
    object without such a key says nothing.

    Args:
        text: the answer as generated, of any length; the first 10,000 characters are read.
    """
    text = fold(html.unescape(text[:LONGEST]))
    text = _THOUGHT_BEFORE.sub(" ", _HIDDEN.sub(" ", _COMMENT.sub(" ", text)))
    fenced = _FENCE.match(text)
    text = _from_json(fenced[1] if fenced else text)
    text = _EMPHASIS.sub(" ", _TAG.sub(" ", text))
    return _BLANKS.sub(" ", text).strip()


def addresses_the_scorer(text: str) -> bool:
    """Tell whether a plain text gives orders to whoever scores it instead of answering."""
    return _TO_THE_SCORER.search(text) is not None


def without_lead(text: str) -> str:
    """Return a plain text without a leading "Answer:", "the answer is" or the like."""
    return _LEAD.sub("", text).strip()


def _from_json(text: str) -> str:
    stripped = text.strip()
    if not stripped.startswith(("{", "[")):
        return text
    try:
        value = _answer_in(json.loads(stripped))
    except (ValueError, RecursionError):
        return text
    return text if value is None else value


def _answer_in(value: Any) -> str | None:
    if isinstance(value, list):
        return _answer_in(value[0]) if len(value) == 1 else None
    if isinstance(value, dict):
        return next((_answer_in(value[key]) or "" for key in _KEYS if key in value), "")
    if isinstance(value, bool):
        return _WORDS[value]
    return value if isinstance(value, str) else None
