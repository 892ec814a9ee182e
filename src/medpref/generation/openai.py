"""An endpoint that speaks OpenAI's chat completions: a vLLM server, ``transformers serve`` and others."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from medpref.backbones.sampling import Sampling
from medpref.endpoints.chat import image_part, read_completion
from medpref.endpoints.endpoint import (
    ConnectionSettings,
    Endpoint,
    RefusedError,
    check_address,
    import_httpx,
)
from medpref.endpoints.many import post_each
from medpref.errors import InputError
from medpref.generation.engine import Engine, EngineKind, EngineSettings, engines
from medpref.generation.question import Answer, Failure, Question, question_seed
from medpref.pairs.images import open_image
from medpref.pairs.pair import IMAGE_PLACEHOLDER
from medpref.scoring.inputs import Stamp, file_stamp

if TYPE_CHECKING:
    from httpx2 import AsyncClient

OWN_KEYS = frozenset(
    {"model", "messages", "temperature", "top_p", "top_k", "seed", "max_tokens", "max_completion_tokens"}
    | {"n", "stream"}
)


class OpenAISettings(ConnectionSettings, EngineSettings):
    """What is asked of an endpoint.

    Attributes:
        model: the model's name there.
        allow_images: let images leave this process for the endpoint, wherever it runs.
        batch: questions that are asked at a time.
        limit_name: what the endpoint calls the longest answer, in tokens.
        extra: further keys of each request, such as ``{"repetition_penalty": 1.0}``; no secrets.
    """

    model: str
    allow_images: bool = False
    batch: int = Field(8, ge=1)
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    extra: dict[str, Any] = Field(default_factory=dict)

    @field_validator("extra")
    @classmethod
    def _new_keys(cls, extra: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(OWN_KEYS & extra.keys()):
            raise ValueError(f"medpref sets {', '.join(taken)} itself")
        return extra


class OpenAIEngine(Engine):
    """Asks an endpoint several questions at a time.

    Args:
        address: of the endpoint, up to and without ``/chat/completions``.
        settings: the model's name, what may be sent, limits and retries.

    Raises:
        InputError: the address is none, the key's variable is not set, or no HTTP client is installed.
    """

    def __init__(self, address: str, settings: OpenAISettings) -> None:
        import_httpx()
        self._endpoint = Endpoint(address, settings)
        self._settings = settings

    @property
    def identity(self) -> Mapping[str, Any]:
        """Address, model and what else each request says; which weights are behind it cannot be known."""
        settings = self._settings
        return {
            "engine": "openai",
            "endpoint": self._endpoint.address,
            "model": settings.model,
            "extra": settings.extra,
        }

    def answer(self, questions: Sequence[Question], sampling: Sampling) -> Iterator[Answer | Failure]:
        """Yield answers in the order in which they come.

        Raises:
            InputError: questions have images and none may be sent; the endpoint refuses the key, knows no
                such model, or sends requests on.
            RunError: no connection can be opened, or many questions in a row failed.
        """
        self._check_images(questions)
        ask = partial(self._ask, sampling)
        for question, made in post_each(self._endpoint, questions, ask, self._settings.batch):
            yield Failure(question.id, made.reason) if isinstance(made, RefusedError) else made

    async def _ask(self, sampling: Sampling, client: "AsyncClient", question: Question) -> Answer:
        import anyio

        # In a thread: an image of many megapixels takes a while to encode.
        body = await anyio.to_thread.run_sync(partial(self.request, question, sampling))
        return read_answer(question.id, await self._endpoint.post(client, "chat/completions", body))

    def request(self, question: Question, sampling: Sampling) -> dict[str, Any]:
        """Return the body of one question's request.

        Raises:
            RefusedError: the question is faulty, or an image cannot be read.
        """
        if question.fault:
            raise RefusedError(question.fault)
        body: dict[str, Any] = {
            "model": self._settings.model,
            "messages": messages(question),
            self._settings.limit_name: sampling.max_new_tokens,
            "temperature": sampling.temperature,
        }
        if sampling.temperature > 0:
            # 31 bits: servers disagree on how large a seed may be.
            body |= {"top_p": sampling.top_p, "seed": question_seed(sampling, question) % 2**31}
            if sampling.top_k:
                body["top_k"] = sampling.top_k
        return {**body, **self._settings.extra}

    def _check_images(self, questions: Sequence[Question]) -> None:
        shown = sum(bool(question.images) for question in questions)
        if shown and not self._settings.allow_images:
            raise InputError(
                f"{shown} questions have images, and no image may be sent to this endpoint",
                where=self._endpoint.address,
                remedy="If the images may leave this process, say so with --allow-images.",
            )


def messages(question: Question) -> list[dict[str, Any]]:
    """Return a conversation in OpenAI's format, images as data URLs where their placeholders stand.

    Raises:
        RefusedError: an image cannot be read.
    """
    images = iter(question.images)
    said: list[dict[str, Any]] = []
    for turn in question.history:
        said.append({"role": "user", "content": _content(turn.user, images)})
        said.append({"role": "assistant", "content": turn.assistant})
    return [*said, {"role": "user", "content": _content(question.prompt, images)}]


def _content(text: str, images: Iterator[Any]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for number, chunk in enumerate(text.split(IMAGE_PLACEHOLDER)):
        if number:
            try:
                part = _image_part(file_stamp(next(images)))
            except InputError as error:
                raise RefusedError(" ".join(str(error).split())) from None
            parts.append(part)
            # As in `medpref.backbones.chat`: templates put their own text around images.
            chunk = chunk.removeprefix("\n")
        if chunk:
            parts.append({"type": "text", "text": chunk})
    return parts


@lru_cache(maxsize=16)
def _image_part(stamp: Stamp) -> dict[str, Any]:
    return image_part(open_image(stamp.path))


def read_answer(ident: str, body: Mapping[str, Any]) -> Answer:
    """Return the answer that a response holds. Raises `RefusedError` as `read_completion` does."""
    made = read_completion(body)
    return Answer(ident, made.text, made.finish, made.tokens)


def build(model: str, settings: OpenAISettings) -> OpenAIEngine:
    """Make an engine for the endpoint at the address `model`. Raises as `OpenAIEngine` does."""
    return OpenAIEngine(check_address(model), settings)


engines.add(
    "openai",
    EngineKind("an endpoint that speaks OpenAI's chat completions, such as vLLM's", OpenAISettings, build),
)
