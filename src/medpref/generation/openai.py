"""An endpoint that speaks OpenAI's chat completions: a vLLM server, ``transformers serve`` and others."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import lru_cache, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from medpref.backbones.sampling import Sampling
from medpref.errors import InputError
from medpref.generation.endpoint import (
    ConnectionSettings,
    Endpoint,
    RefusedError,
    check_address,
    import_httpx,
    unreachable,
)
from medpref.generation.engine import Engine, EngineKind, engines
from medpref.generation.question import Answer, Failure, Finish, Question, question_seed
from medpref.pairs.images import open_image
from medpref.pairs.pair import IMAGE_PLACEHOLDER
from medpref.scoring.inputs import Stamp, file_stamp

if TYPE_CHECKING:
    from httpx2 import AsyncClient

GIVE_UP_AFTER = 10
"""How many questions in a row may fail by errors that waiting might mend, before no more are asked."""
OWN_KEYS = frozenset(
    {"model", "messages", "temperature", "top_p", "top_k", "seed", "max_tokens", "max_completion_tokens"}
    | {"n", "stream"}
)
FINISH: Mapping[Any, Finish] = {"stop": "stop", "length": "length"}


class OpenAISettings(ConnectionSettings):
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
        from anyio.from_thread import start_blocking_portal

        self._check_images(questions)
        waiting = iter(questions)
        in_a_row = 0
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(self._endpoint.client(self._settings.batch)) as client,
        ):
            running: set[Future[Answer | RefusedError]] = set()
            names: dict[Future[Answer | RefusedError], str] = {}
            try:
                while True:
                    for question in islice(waiting, self._settings.batch - len(running)):
                        future = portal.start_task_soon(self._ask, client, question, sampling)
                        names[future] = question.id
                        running.add(future)
                    if not running:
                        return
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    # Answers first: they are worth keeping, even if another question ends it all.
                    for future in sorted(done, key=lambda each: each.exception() is not None):
                        made, ident = future.result(), names.pop(future)
                        if isinstance(made, Answer):
                            in_a_row = 0
                            yield made
                            continue
                        in_a_row = in_a_row + 1 if made.transient else 0
                        if made.unreachable or in_a_row >= GIVE_UP_AFTER:
                            raise unreachable(self._endpoint.address, made.reason)
                        yield Failure(ident, made.reason)
            finally:
                for future in running:
                    future.cancel()

    async def _ask(
        self, client: "AsyncClient", question: Question, sampling: Sampling
    ) -> Answer | RefusedError:
        import anyio

        try:
            # In a thread: an image of many megapixels takes a while to encode.
            body = await anyio.to_thread.run_sync(partial(self.request, question, sampling))
            return read_answer(question.id, await self._endpoint.post(client, "chat/completions", body))
        except RefusedError as refused:
            return refused

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
                url = _data_url(file_stamp(next(images)))
            except InputError as error:
                raise RefusedError(" ".join(str(error).split())) from None
            parts.append({"type": "image_url", "image_url": {"url": url}})
            # As in `medpref.backbones.chat`: templates put their own text around images.
            chunk = chunk.removeprefix("\n")
        if chunk:
            parts.append({"type": "text", "text": chunk})
    return parts


@lru_cache(maxsize=16)
def _data_url(stamp: Stamp) -> str:
    """Return an image as a data URL: its pixels as the local engine sees them, in PNG.

    The file itself is not sent: its metadata may name a patient.
    """
    buffer = io.BytesIO()
    open_image(stamp.path).save(buffer, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def read_answer(ident: str, body: Mapping[str, Any]) -> Answer:
    """Return the answer that a response holds.

    Raises:
        RefusedError: it holds none or several, or one that neither the model nor its longest length ended.
    """
    choices = body.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        count = len(choices) if isinstance(choices, list) else "no"
        raise RefusedError(f"the response holds {count} choices where one was asked for")
    message, finish = choices[0].get("message"), choices[0].get("finish_reason")
    text = message.get("content") if isinstance(message, dict) else None
    if finish not in FINISH:
        raise RefusedError(
            f"the answer ended for another reason than its end or length: {str(finish)[:40]!r}"
        )
    if not isinstance(text, str):
        raise RefusedError("the response holds no text")
    usage = body.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    # Halves of surrogate pairs, which JSON can hold, cannot be written again.
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return Answer(ident, text.strip(), FINISH[finish], tokens if isinstance(tokens, int) else None)


def build(model: str, settings: OpenAISettings) -> OpenAIEngine:
    """Make an engine for the endpoint at the address `model`. Raises as `OpenAIEngine` does."""
    return OpenAIEngine(check_address(model), settings)


engines.add(
    "openai",
    EngineKind("an endpoint that speaks OpenAI's chat completions, such as vLLM's", OpenAISettings, build),
)
