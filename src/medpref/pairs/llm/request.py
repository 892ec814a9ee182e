"""One request to a language model, and the key that its reply is kept under."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from medpref.endpoints.chat import Completion, image_part, read_anyway, read_completion
from medpref.endpoints.endpoint import RefusedError
from medpref.errors import InputError
from medpref.files import cached_file_hash, content_hash
from medpref.pairs.images import open_image
from medpref.pairs.llm.settings import ModelSettings


class Message(NamedTuple):
    """One message; `role` is ``system``, ``user`` or ``assistant``."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked on behalf of one pair.

    Attributes:
        id: the pair's.
        messages: the conversation.
        images: files that stand before the first user's text.
        seed: of the reply, where it is drawn.
    """

    id: str
    messages: tuple[Message, ...]
    images: tuple[Path, ...] = ()
    seed: int = 0

    def key(self, settings: ModelSettings) -> str:
        """Return 16 hexadecimal digits that change with texts, image bytes, endpoint, model and sampling."""
        return content_hash(
            "chat completion, version 1",
            settings.endpoint,
            self._parameters(settings),
            [list(message) for message in self.messages],
            [_file_hash(path) for path in self.images],
        )

    def body(self, settings: ModelSettings) -> dict[str, Any]:
        """Return what is posted.

        Raises:
            RefusedError: an image cannot be read.
        """
        messages: list[dict[str, Any]] = []
        images = list(self.images)
        for role, text in self.messages:
            shown, images = (images, []) if role == "user" else ([], images)
            parts = [_image_part(path) for path in shown]
            messages.append(
                {"role": role, "content": [*parts, {"type": "text", "text": text}] if parts else text}
            )
        return {**self._parameters(settings), "messages": messages}

    def _parameters(self, settings: ModelSettings) -> dict[str, Any]:
        parameters: dict[str, Any] = {
            "model": settings.model,
            "temperature": settings.temperature,
            settings.limit_name: settings.max_tokens,
        }
        if settings.temperature > 0:
            # 31 bits: servers disagree on how large a seed may be.
            parameters["seed"] = self.seed % 2**31
        return {**parameters, **settings.extra}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        text: the model's words.
        finish: ``stop``, or ``length`` where the longest reply was reached.
        prompt_tokens, tokens: read and written, where the endpoint tells.
    """

    text: str
    finish: str
    prompt_tokens: int | None = None
    tokens: int | None = None

    def to_row(self) -> dict[str, Any]:
        """Return the reply as a JSON object."""
        return {name: getattr(self, name) for name in ("text", "finish", "prompt_tokens", "tokens")}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Reply":
        """Return the reply that `to_row` made `row` of. Raises `TypeError` for other rows."""
        reply = cls(**row)
        if not (isinstance(reply.text, str) and isinstance(reply.finish, str)):
            raise TypeError("text and finish are texts")
        if not all(count is None or type(count) is int for count in (reply.prompt_tokens, reply.tokens)):
            raise TypeError("counts are whole numbers")
        return reply


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request without a reply, and why.

    Attributes:
        reason: without secrets and image bytes.
        said: what the model said nonetheless, such as before a content filter stopped it.
    """

    reason: str
    said: Reply | None = None


def read_made(body: Mapping[str, Any]) -> Reply | Refusal:
    """Return the reply that an endpoint's response holds, or why it is none."""
    try:
        made = read_completion(body)
    except RefusedError as refused:
        said = read_anyway(body)
        return Refusal(refused.reason, _reply(said) if said else None)
    return _reply(made)


def _reply(made: Completion) -> Reply:
    return Reply(made.text, made.finish, made.prompt_tokens, made.tokens)


def _image_part(path: Path) -> dict[str, Any]:
    try:
        return image_part(open_image(path))
    except InputError as error:
        raise RefusedError(" ".join(str(error).split())) from None


def _file_hash(path: Path) -> str:
    try:
        return cached_file_hash(path)
    except OSError:
        return "missing"
