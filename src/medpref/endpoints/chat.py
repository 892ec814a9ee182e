"""OpenAI's chat completions: images as they are sent, and what comes back."""

import base64
import io
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from PIL import Image

from medpref.endpoints.endpoint import RefusedError

Finish: TypeAlias = Literal["stop", "length"]
"""Why a completion ended: the model closed it, or it reached its longest."""

FINISH: Mapping[Any, Finish] = {"stop": "stop", "length": "length"}


class Completion(NamedTuple):
    """What a model said.

    Attributes:
        text: without blanks around it.
        finish: why it ended.
        tokens: how many were generated, where the endpoint tells.
        prompt_tokens: how many were read, where the endpoint tells.
    """

    text: str
    finish: Finish
    tokens: int | None
    prompt_tokens: int | None


def image_part(image: Image.Image) -> dict[str, Any]:
    """Return an image as a part of a message: a data URL of its pixels in PNG.

    A file itself is never sent: its metadata may name a patient.
    """
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def read_completion(body: Mapping[str, Any]) -> Completion:
    """Return the completion that a response holds.

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
    return Completion(
        _whole(text).strip(), FINISH[finish], _used(body, "completion_tokens"), _used(body, "prompt_tokens")
    )


def read_anyway(body: Mapping[str, Any]) -> Completion | None:
    """Return what a model said in a response that `read_completion` refuses; None where it said nothing.

    It is there to be looked at; how it ended is not told, and the text may be a part of an answer.
    """
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    text = message.get("content") if isinstance(message, dict) else None
    if not isinstance(text, str):
        return None
    return Completion(_whole(text), "length", _used(body, "completion_tokens"), _used(body, "prompt_tokens"))


def _whole(text: str) -> str:
    """Return a text without halves of surrogate pairs, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _used(body: Mapping[str, Any], name: str) -> int | None:
    usage = body.get("usage")
    tokens = usage.get(name) if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) else None
