"""The wordings of ``prompts.yaml``: what is asked of judges, and of models that split texts into facts."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from medpref.pairs.llm.request import Message


@cache
def _texts() -> Mapping[str, Any]:
    text = (files("medpref.evaluation.facts") / "prompts.yaml").read_text("utf-8")
    texts: Mapping[str, Any] = yaml.safe_load(text)
    return texts


def version() -> int:
    """Return the version of the wordings."""
    return int(_texts()["version"])


def judge_messages(facts: Sequence[str], text: str) -> tuple[Message, ...]:
    """Return the request for a label for each of `facts`, from `text` alone."""
    return _messages("judge", facts=facts, text=text.strip())


def extract_messages(text: str) -> tuple[Message, ...]:
    """Return the request for the atomic facts of `text`."""
    return _messages("extract", text=text.strip())


def without_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return messages as one of the user's: some chat templates have no place for a system's."""
    return (Message("user", "\n\n".join(message.text for message in messages)),)


def _messages(name: str, **values: Any) -> tuple[Message, ...]:
    # Plain text, not a web page: nothing is escaped.
    environment = Environment(undefined=StrictUndefined, autoescape=False)
    user = environment.from_string(_texts()[name]["user"]).render(**values).strip()
    return Message("system", _texts()[name]["system"].strip()), Message("user", user)
