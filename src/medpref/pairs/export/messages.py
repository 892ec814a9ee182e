"""Pairs as chat messages, the way TRL wants them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from medpref.pairs.pair import IMAGE_PLACEHOLDER, Pair, ResponseRole

# The line break behind a placeholder belongs to it: medpref's own reader puts it there again.
_PLACEHOLDER = re.compile(re.escape(IMAGE_PLACEHOLDER) + "\n?")

Message = dict[str, Any]


def prompt_messages(pair: Pair, *, parts: bool) -> list[Message]:
    """Return the conversation up to the last question.

    Args:
        pair: the pair.
        parts: contents are lists of parts, in which each image stands in its place; else texts.
    """
    said: list[tuple[str, str]] = []
    for turn in pair.history:
        said += [("user", turn.user), ("assistant", turn.assistant)]
    return [message(role, text, parts=parts) for role, text in (*said, ("user", pair.prompt))]


def response_messages(pair: Pair, role: ResponseRole, *, parts: bool) -> list[Message] | None:
    """Return a response as a list of one message, or None where the pair has none."""
    text = pair.responses.get(role)
    return None if text is None else [message("assistant", text, parts=parts)]


def message(role: str, text: str, *, parts: bool) -> Message:
    """Return one message; only the user's placeholders are images."""
    if not parts:
        return {"role": role, "content": text}
    content = _parts(text) if role == "user" else [{"type": "text", "text": text}]
    return {"role": role, "content": content}


def _parts(text: str) -> list[Mapping[str, str]]:
    texts = _PLACEHOLDER.split(text)
    content: list[Mapping[str, str]] = []
    for number, piece in enumerate(texts):
        content += [{"type": "image"}] if number else []
        content += [{"type": "text", "text": piece}] if piece else []
    return content


def any_images(pairs: Sequence[Pair]) -> bool:
    """Tell whether any pair shows an image: a set without them is one for language models."""
    return any(pair.placeholders for pair in pairs)
