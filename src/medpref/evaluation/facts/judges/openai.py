"""A model behind an endpoint as a judge, live or by batch files; text alone is sent."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from medpref.errors import RunError
from medpref.evaluation.facts.judges.base import Item, Judge, JudgeKind, Judgement, judges
from medpref.evaluation.facts.labels import Label, UnreadableError
from medpref.evaluation.facts.prompts import judge_messages, version, without_system
from medpref.evaluation.facts.replies import read_labels
from medpref.files import UserPath
from medpref.pairs.llm.asker import Asker, LiveAsker
from medpref.pairs.llm.batch import BatchAsker
from medpref.pairs.llm.checked import Outcome, ask_checked
from medpref.pairs.llm.replies import FaultyReplyError
from medpref.pairs.llm.request import Message, Reply, Request
from medpref.pairs.llm.settings import ModelSettings

AT_A_TIME = 64
"""So many items are asked between two times that replies are written; at least 16 for each connection."""


class OpenAISettings(ModelSettings):
    """A model behind an endpoint, and how its replies come.

    Attributes:
        repairs: how often an unreadable reply is asked for again, its fault named.
        batch_file: write requests here instead of sending them.
        results_files: what came back of batches.
        system_role: whether the model takes a system's message; otherwise the user's says it all.
    """

    temperature: float = Field(0.0, ge=0)
    max_tokens: int = Field(1024, ge=1)
    repairs: int = Field(2, ge=0)
    batch_file: UserPath | None = None
    results_files: tuple[UserPath, ...] = ()
    system_role: bool = True


def make_request(ident: str, messages: tuple[Message, ...], settings: OpenAISettings) -> Request:
    """Return a request of text alone, in the roles that the model takes."""
    return Request(ident, messages if settings.system_role else without_system(messages))


def make_asker(settings: OpenAISettings) -> Asker:
    """Return who is asked: the endpoint, or batch files where the settings name one."""
    own = {"repairs", "batch_file", "results_files", "system_role", "allow_images"}
    plain = ModelSettings.model_validate(settings.model_dump(exclude=own))
    if settings.batch_file is None and not settings.results_files:
        return LiveAsker(plain)
    return BatchAsker(plain, settings.batch_file or Path("facts-batch.jsonl"), settings.results_files)


class OpenAIJudge(Judge):
    """Asks one request an item; replies are kept in a cache that all runs share.

    Args:
        settings: the model, its limits, and batch files.
    """

    def __init__(self, settings: OpenAISettings) -> None:
        self._settings = settings
        self._asker = make_asker(settings)
        self._live = isinstance(self._asker, LiveAsker)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Address, model, sampling, and the wording's version."""
        kept = ("endpoint", "model", "temperature", "max_tokens", "extra", "system_role")
        return {
            "judge": "openai",
            "prompts": version(),
            **{name: getattr(self._settings, name) for name in kept},
        }

    def told(self) -> Mapping[str, Any]:
        """Return how many replies came and were kept, and what they cost."""
        return self._asker.told()

    def judge(self, items: Sequence[Item]) -> Iterator[Judgement]:
        """Yield judgements, some at a time where the endpoint is live, all at once from batch files."""
        size = max(AT_A_TIME, 16 * self._settings.concurrency) if self._live else max(1, len(items))
        for start in range(0, len(items), size):
            yield from self._ask(items[start : start + size])

    def _ask(self, items: Sequence[Item]) -> Iterator[Judgement]:
        def read(number: int, reply: Reply) -> tuple[Label, ...]:
            try:
                return read_labels(reply.text, len(items[number].facts))
            except UnreadableError as error:
                cut = "it was cut short at the longest reply: " if reply.finish == "length" else ""
                raise FaultyReplyError(f"{cut}{error}") from None

        requests = [
            make_request(item.id, judge_messages(item.facts, item.text), self._settings) for item in items
        ]
        try:
            outcomes = ask_checked(self._asker, requests, read, self._settings.repairs)
        except RunError:
            # What came before is kept: it stands in the cache, and in the file of replies too.
            yield from self._kept(items, requests)
            raise
        for item, outcome in zip(items, outcomes, strict=True):
            yield _judgement(item, outcome)

    def _kept(self, items: Sequence[Item], requests: Sequence[Request]) -> Iterator[Judgement]:
        for item, request in zip(items, requests, strict=True):
            reply = self._asker.cache.get(request.key(self._asker.settings))
            if reply is None:
                continue
            try:
                yield Judgement.of(item, read_labels(reply.text, len(item.facts)))
            except UnreadableError:
                continue


def _judgement(item: Item, outcome: Outcome[tuple[Label, ...]]) -> Judgement:
    if outcome.value is not None:
        return Judgement.of(item, outcome.value)
    return Judgement(item, outcome.replies[-1] if outcome.replies else None, outcome.reason)


judges.add(
    "openai",
    JudgeKind("a model behind an endpoint, live or by batch files", OpenAISettings, OpenAIJudge),
)
