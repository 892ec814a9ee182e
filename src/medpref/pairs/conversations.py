"""Conversations as people write them, turned into earlier turns, the last question and its answer."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from medpref.pairs.fields import RowError, read_text
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Turn


class Message(NamedTuple):
    """What one of the two said: `speaker` is ``user`` or ``assistant``."""

    speaker: str
    text: str


SPEAKERS = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}
ORDER = ("user", "assistant")


def read_llava(value: Any, key: str) -> list[Message]:
    """Return the messages of LLaVA's ``[{"from": "human", "value": …}, …]``.

    Raises:
        RowError: a turn has another shape or another speaker.
    """
    return [
        Message(_speaker(turn.get("from"), name), read_text(turn.get("value"), name))
        for turn, name in _named(value, key)
    ]


def read_chat(value: Any, key: str) -> list[Message]:
    """Return the messages of a chat, ``[{"role": "user", "content": …}, …]``; a text alone is the user's.

    A content is a text, or a list of parts of which each image becomes a placeholder.

    Raises:
        RowError: a message has another shape or another role.
    """
    if isinstance(value, str | int | float):
        return [Message("user", str(value))]
    return [
        Message(_speaker(message.get("role"), name), _content(message.get("content"), name))
        for message, name in _named(value, key)
    ]


def read_history(value: Any) -> tuple[Turn, ...]:
    """Return the turns of medpref's own ``[[question, answer], …]``, oldest first.

    Raises:
        RowError: an entry is no such pair of texts.
    """
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise RowError(f"history must be a list of [question, answer], this is {type(value).__name__}")
    for number, turn in enumerate(value, start=1):
        if not isinstance(turn, list | tuple) or len(turn) != 2:
            raise RowError(f"turn {number} of the history is no [question, answer]")
    return tuple(
        Turn(*(read_text(said, f"turn {number} of the history") for said in turn))
        for number, turn in enumerate(value, start=1)
    )


def split_question(messages: Sequence[Message], key: str) -> tuple[tuple[Turn, ...], str]:
    """Return the earlier turns and the last question of messages that end with it.

    Raises:
        RowError: user and assistant do not take turns, or the last word is not the user's.
    """
    for number, message in enumerate(messages):
        if message.speaker != ORDER[number % 2]:
            raise RowError(
                f"turn {number + 1} of {key} is the {message.speaker}'s "
                f"where the {ORDER[number % 2]}'s should be"
            )
    if len(messages) % 2 == 0:
        raise RowError(f"{key} has {len(messages)} turns and does not end with a question")
    said = [message.text for message in messages]
    return tuple(map(Turn, said[:-1:2], said[1::2])), said[-1]


def split_answer(messages: Sequence[Message], key: str) -> tuple[list[Message], str]:
    """Return what stands before an answer, and the answer. Raises `RowError` where there is none."""
    if len(messages) < 2:
        raise RowError(f"{key} needs a question and an answer")
    if len(messages) % 2:
        raise RowError(f"{key} has {len(messages)} turns: a question without its answer, or the reverse")
    *asked, last = messages
    if last.speaker != "assistant":
        raise RowError(f"turn {len(messages)} of {key} is the user's where the assistant's should be")
    return asked, last.text


def read_answer(messages: Sequence[Message], asked: Sequence[Message], key: str) -> str:
    """Return the answer at the end of messages that hold it alone, or behind what was `asked`.

    Raises:
        RowError: there is none, or what stands before it is not what was asked.
    """
    if len(messages) == 1 and messages[0].speaker == "assistant":
        return messages[0].text
    before, answer = split_answer(messages, key)
    for number, (one, other) in enumerate(zip(before, asked, strict=False), start=1):
        if one.speaker != other.speaker or one.text.strip() != other.text.strip():
            raise RowError(f"turn {number} of {key} is not the prompt's: both answers need the same one")
    if len(before) != len(asked):
        raise RowError(f"{key} has {len(before)} turns before its answer, the prompt {len(asked)}")
    return answer


def _named(value: Any, key: str) -> list[tuple[Mapping[str, Any], str]]:
    """Return the entries of a list of mappings, each with what errors call it."""
    if not isinstance(value, list) or not value or not all(isinstance(entry, Mapping) for entry in value):
        kind = "an empty list" if value == [] else type(value).__name__
        raise RowError(f"expected messages in {key}, found {kind}")
    return [(entry, f"turn {number} of {key}") for number, entry in enumerate(value, start=1)]


def _speaker(name: Any, turn: str) -> str:
    if name not in SPEAKERS:
        raise RowError(f"{turn} is by {name!r}: only a user and an assistant are known")
    return SPEAKERS[name]


def _content(content: Any, turn: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RowError(f"{turn} needs a content")
    return "".join(_part(part, turn) for part in content)


def _part(part: Any, turn: str) -> str:
    if not isinstance(part, Mapping):
        raise RowError(f"{turn} holds a part that is no object")
    if part.get("type") == "image":
        return f"{IMAGE_PLACEHOLDER}\n"
    return read_text(part.get("text"), f"a part of {turn}")
