"""The wordings of ``prompts.yaml``: what is asked for each kind of error, and of judges."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml
from jinja2 import Environment, StrictUndefined

from medpref.pairs.llm.request import Message
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Pair, ResponseRole
from medpref.registry import Registry

LONGEST_REPEATED = 2000
"""The most characters of an earlier reply that are shown to the model again."""


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One way for a response to be wrong.

    Attributes:
        name: such as ``side``.
        kinds: the question kinds whose answers can be wrong in this way.
        cues: finds words that show that a text speaks of it.
        rule: what the model is told.
        example: question, chosen, rejected, changed_from and changed_to.
    """

    name: str
    kinds: tuple[str, ...]
    cues: re.Pattern[str]
    rule: str
    example: Mapping[str, str]


class Opinion(NamedTuple):
    """What a judge said, as another judge is told; `own` where it is the same one."""

    score: float
    reason: str
    own: bool


@cache
def _texts() -> Mapping[str, Any]:
    text = (files("medpref.pairs.llm") / "prompts.yaml").read_text("utf-8")
    texts: Mapping[str, Any] = yaml.safe_load(text)
    return texts


@cache
def error_kinds() -> Registry[ErrorKind]:
    """Return the kinds of errors by name."""
    found: Registry[ErrorKind] = Registry("error kind")
    for name, entry in _texts()["errors"].items():
        cues = "|".join(re.escape(str(cue)) for cue in entry["cues"])
        pattern = re.compile(rf"(?<!\w)(?:{cues})(?!\w)", re.IGNORECASE)
        found.add(name, ErrorKind(name, tuple(entry["kinds"]), pattern, entry["rule"], entry["example"]))
    return found


def leaks() -> tuple[str, ...]:
    """Return phrases that come from an instruction rather than from a response."""
    return tuple(_texts()["leaks"])


def version() -> int:
    """Return the version of the wordings."""
    return int(_texts()["version"])


def question_text(pair: Pair) -> str:
    """Return a pair's question without its image placeholders."""
    return _without_images(pair.prompt)


def write_messages(pair: Pair, error: str, *, shown: bool) -> tuple[Message, ...]:
    """Return the request for a rejected response with one error.

    Args:
        pair: question and chosen response.
        error: the kind of the error.
        shown: whether the pair's images are sent too.
    """
    kind = error_kinds()[error]
    reply = {key: kind.example[key] for key in ("rejected", "changed_from", "changed_to")}
    example = {**kind.example, "reply": json.dumps({**reply, "error": error})}
    return _messages("write", pair, shown, error=error, rule=kind.rule, example=example)


def judge_messages(pair: Pair, *, shown: bool) -> tuple[Message, ...]:
    """Return the request for the clinical relevance of what a pair's rejected response has wrong."""
    return _messages("judge", pair, shown, rejected=pair.responses[ResponseRole.REJECTED])


def again_messages(
    messages: Sequence[Message], reply: str, opinions: Sequence[Opinion]
) -> tuple[Message, ...]:
    """Return the request to a judge that knows its own last reply and all judges' opinions."""
    told = _render(_texts()["judge"]["again"], opinions=opinions)
    return (*messages, Message("assistant", reply[:LONGEST_REPEATED]), Message("user", told))


def repair_messages(messages: Sequence[Message], reply: str, fault: str) -> tuple[Message, ...]:
    """Return the request to put right a faulty reply."""
    told = _render(_texts()["repair"], fault=fault)
    return (*messages, Message("assistant", reply[:LONGEST_REPEATED] or "(nothing)"), Message("user", told))


def _messages(name: str, pair: Pair, shown: bool, **values: Any) -> tuple[Message, ...]:
    history = [
        {"user": _without_images(turn.user), "assistant": turn.assistant.strip()} for turn in pair.history
    ]
    chosen = pair.responses[ResponseRole.CHOSEN].strip()
    user = _render(
        _texts()[name]["user"],
        question=question_text(pair),
        chosen=chosen,
        shown=shown,
        history=history,
        **values,
    )
    return Message("system", _texts()[name]["system"].strip()), Message("user", user)


def _without_images(text: str) -> str:
    return text.replace(IMAGE_PLACEHOLDER, "").strip()


def _render(template: str, **values: Any) -> str:
    # Plain text, not a web page: nothing is escaped.
    environment = Environment(undefined=StrictUndefined, autoescape=False)
    return environment.from_string(template).render(**values).strip()
