"""Ask until the replies can be used: a faulty one is put right by the model, or put aside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from medpref.pairs.llm.asker import Asker
from medpref.pairs.llm.prompts import repair_messages
from medpref.pairs.llm.replies import FaultyReplyError
from medpref.pairs.llm.request import Refusal, Reply, Request

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What came of one request.

    Attributes:
        value: what the reply says; None where none could be used.
        reason: why not.
        replies: all that the model said, the last at the end.
    """

    value: T | None
    reason: str
    replies: tuple[str, ...]


def ask_checked(
    asker: Asker,
    requests: Sequence[Request],
    read: Callable[[int, Reply], T],
    repairs: int,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Outcome[T]]:
    """Return what came of each request, in order.

    Args:
        asker: who is asked.
        requests: what is asked.
        read: ``read(number, reply)`` returns what the reply to that request says, or raises
            `FaultyReplyError`.
        repairs: how often a faulty reply is asked for again, its fault named.
        advance: called with the number of requests done.

    Raises:
        InputError, RunError: as `Asker.ask` does.
    """
    outcomes: list[Outcome[T]] = [Outcome(None, "", ()) for _ in requests]
    waiting = dict(enumerate(requests))
    for attempt in range(repairs + 1):
        if not waiting:
            break
        made = asker.ask(list(waiting.values()), advance if attempt == 0 else lambda _: None)
        faulty: dict[int, Request] = {}
        for (number, request), reply in zip(waiting.items(), made, strict=True):
            outcome = outcomes[number]
            if isinstance(reply, Refusal):
                said = (*outcome.replies, *([reply.said.text] if reply.said else []))
                outcomes[number] = Outcome(None, reply.reason, said)
                continue
            said = (*outcome.replies, reply.text)
            try:
                outcomes[number] = Outcome(read(number, reply), "", said)
            except FaultyReplyError as fault:
                outcomes[number] = Outcome(None, str(fault), said)
                messages = repair_messages(request.messages, reply.text, str(fault))
                faulty[number] = replace(request, messages=messages)
        waiting = faulty
    return outcomes
