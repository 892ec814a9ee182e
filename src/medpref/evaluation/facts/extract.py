"""Atomic facts of texts: by a language model, or by rules that split sentences and lists of denials."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from medpref.evaluation.facts.judges.base import JudgeSettings, check_settings
from medpref.evaluation.facts.judges.openai import OpenAISettings, make_asker, make_request
from medpref.evaluation.facts.prompts import extract_messages
from medpref.pairs.llm.checked import ask_checked
from medpref.pairs.llm.replies import read_reply
from medpref.pairs.llm.request import Reply
from medpref.registry import Registry

_SENTENCE = re.compile(r"(?<=[.!?;])\s+(?=[^a-z])|\n+|;\s*")
_NUMBERED = re.compile(r"^\s*(?:[0-9]{1,3}[.)]|[-*•])\s+")
_HEADING = re.compile(
    r"^(?:findings?|impression|conclusion|comparison|technique|indication)\s*:\s*", re.IGNORECASE
)
_DENIALS = re.compile(
    r"^(?P<lead>(?:there (?:is|are|was|were) )?no (?:(?:\w+ )?evidence of |signs? of )?)(?P<things>[^.;]*?)"
    r"(?P<tail>\s+(?:is|are|was|were)\s+(?:seen|identified|present|noted|evident|visible|detected))?[.;]?$",
    re.IGNORECASE,
)
_AND = re.compile(r",\s*(?:and\s+|or\s+|nor\s+)?|\s+(?:or|nor)\s+")
_BUT = re.compile(r",?\s+(?:but|however|although)\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Extracted:
    """The facts of one text.

    Attributes:
        id: the text's.
        facts: in their order.
        by: what made them: ``rules`` or a model's name.
        reason: why there are none, or why the rules stepped in.
    """

    id: str
    facts: tuple[str, ...]
    by: str
    reason: str | None = None

    def to_row(self, text: str) -> dict[str, Any]:
        """Return a row of a file of facts."""
        row = {"id": self.id, "atomic_facts": list(self.facts), "text": text, "by": self.by}
        return row if self.reason is None else {**row, "reason": self.reason}


Extractor = Callable[[Mapping[str, str], Any], list[Extracted]]


@dataclass(frozen=True, slots=True)
class ExtractorKind:
    """One way to get facts: a line for listings, its settings, and what it makes of texts by id."""

    summary: str
    settings: type[BaseModel]
    extract: Extractor

    def run(self, texts: Mapping[str, str], settings: Mapping[str, Any]) -> list[Extracted]:
        """Return the facts of each text, in order.

        Raises:
            InputError: a setting is unknown or wrong, or the model cannot be asked.
            RunError: the endpoint stopped working, or a batch waits to be sent.
        """
        return self.extract(texts, check_settings(self.settings, settings, "extractor"))


extractors: Registry[ExtractorKind] = Registry("extractor")


def split_facts(text: str) -> list[str]:
    """Return a text's facts by rules: a sentence is one, and "No A, B or C." is three. Each stands once."""
    found = [fact for sentence in _SENTENCE.split(text) for fact in _of_sentence(sentence)]
    if not found and re.search(r"[^\W_]", text):
        # "4" is an answer too.
        found = [_sentence(" ".join(text.split()).rstrip(".;,: "))]
    return list(dict.fromkeys(found))


def _of_sentence(sentence: str) -> Iterator[str]:
    bare = " ".join(_HEADING.sub("", _NUMBERED.sub("", sentence).strip()).split()).rstrip(".;,: ")
    for part in _BUT.split(bare):
        if not re.search(r"[^\W\d_]", part):
            continue
        denials = _DENIALS.match(part)
        things = [thing for thing in _AND.split(denials["things"]) if thing.strip()] if denials else []
        # "No mass in the left, or in the right lung" is one denial: its parts are no findings.
        if denials and len(things) > 1 and all(re.match(r"(?!in\b|of\b|at\b|on\b)\w", t) for t in things):
            yield from (_sentence(denials["lead"] + thing + (denials["tail"] or "")) for thing in things)
        else:
            yield _sentence(part)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + ("" if words[-1:] in "!?" else ".")


class _Facts(BaseModel):
    """What a model replies."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    facts: list[str]


class ModelSettings(OpenAISettings):
    """A model behind an endpoint; `fallback` lets the rules split texts that it gives no facts for."""

    fallback: bool = Field(default=False)


def _by_rules(texts: Mapping[str, str], _: JudgeSettings) -> list[Extracted]:
    return [_ruled(ident, text, None) for ident, text in texts.items()]


def _ruled(ident: str, text: str, reason: str | None) -> Extracted:
    facts = tuple(split_facts(text))
    return Extracted(ident, facts, "rules", reason if facts or reason else "no facts")


def _by_model(texts: Mapping[str, str], settings: ModelSettings) -> list[Extracted]:
    def read(_: int, reply: Reply) -> tuple[str, ...]:
        facts = read_reply(reply.text, reply.finish, _Facts).facts
        return tuple(dict.fromkeys(fact.strip() for fact in facts if fact.strip()))

    asked = [(ident, text) for ident, text in texts.items() if text.strip()]
    asker = make_asker(OpenAISettings.model_validate(settings.model_dump(exclude={"fallback"})))
    requests = [make_request(ident, extract_messages(text), settings) for ident, text in asked]
    outcomes = dict(
        zip((i for i, _ in asked), ask_checked(asker, requests, read, settings.repairs), strict=True)
    )
    made: list[Extracted] = []
    for ident, text in texts.items():
        outcome = outcomes.get(ident)
        if outcome is not None and outcome.value is not None:
            made.append(
                Extracted(ident, outcome.value, settings.model, None if outcome.value else "no facts")
            )
            continue
        reason = "the text is empty" if outcome is None else outcome.reason
        made.append(
            _ruled(ident, text, reason) if settings.fallback else Extracted(ident, (), settings.model, reason)
        )
    return made


extractors.add(
    "rules", ExtractorKind("a sentence is a fact, a list of denials several", JudgeSettings, _by_rules)
)
extractors.add(
    "openai", ExtractorKind("a model behind an endpoint, live or by batch files", ModelSettings, _by_model)
)


def extract_all(kind: str, texts: Mapping[str, str], settings: Mapping[str, Any]) -> Sequence[Extracted]:
    """Return the facts of each text by the extractor called `kind`; see `ExtractorKind.run`."""
    return extractors[kind].run(texts, settings)
