"""A real server on loopback whose model does what a test says, and notes what it was asked."""

import json
from collections.abc import Callable
from typing import Any

from tests.generation.servers import Body, Handler, Server, completion


def talking(server: Server, say: Callable[[Body], str], **usage: int) -> None:
    """Let the server answer each request with what `say` makes of its body."""

    def answer(handler: Handler, body: Body) -> bool:
        handler.reply(200, completion(say(body), usage=usage or {"completion_tokens": 5}))
        return True

    server.fault = answer


def user_text(body: Body) -> str:
    """Return the first user's text of a request."""
    content = next(message["content"] for message in body["messages"] if message["role"] == "user")
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def asked_of(text: str) -> tuple[str, str, str]:
    """Return error, question and correct answer that a prompt asks for; its example comes before them."""
    error = text.split("Kind of error: ")[1].split(".")[0]
    question, answer = text.rsplit("\nQuestion: ", 1)[1].split("\nCorrect answer: ")
    return error, question, answer


def swap(body: Body) -> str:
    """Write as a good model would: the last word of the answer becomes another one."""
    error, _, chosen = asked_of(user_text(body))
    *before, last = chosen.rstrip(".").split()
    made: dict[str, Any] = {
        "rejected": " ".join([*before, f"un{last}"]),
        "changed_from": last,
        "changed_to": f"un{last}",
        "error": error,
    }
    return json.dumps(made)
