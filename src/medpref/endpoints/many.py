"""Ask an endpoint many things, some at a time, from code that is not asynchronous."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from medpref.endpoints.endpoint import Endpoint, RefusedError, unreachable

if TYPE_CHECKING:
    from httpx2 import AsyncClient

GIVE_UP_AFTER = 10
"""How many requests in a row may fail by errors that waiting might mend, before no more are sent."""

T = TypeVar("T")
R = TypeVar("R")
Ask = Callable[["AsyncClient", T], Awaitable[R]]


def post_each(
    endpoint: Endpoint, things: Iterable[T], ask: "Ask[T, R]", at_a_time: int
) -> Iterator[tuple[T, R | RefusedError]]:
    """Yield each thing with what `ask` made of it, in the order in which answers come.

    Args:
        endpoint: who is asked.
        things: what is asked.
        ask: ``await ask(client, thing)`` posts one of them; a `RefusedError` concerns that one alone.
        at_a_time: the most that run at a time.

    Raises:
        RunError: no connection can be opened, or many in a row failed.
        Exception: what else `ask` raises.
    """
    from anyio.from_thread import start_blocking_portal

    async def guarded(client: "AsyncClient", thing: T) -> R | RefusedError:
        try:
            return await ask(client, thing)
        except RefusedError as refused:
            return refused

    waiting = iter(things)
    in_a_row = 0
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(endpoint.client(at_a_time)) as client,
    ):
        running: set[Future[R | RefusedError]] = set()
        asked: dict[Future[R | RefusedError], T] = {}
        try:
            while True:
                for thing in islice(waiting, at_a_time - len(running)):
                    future = portal.start_task_soon(guarded, client, thing)
                    asked[future] = thing
                    running.add(future)
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                # Answers first: they are worth keeping, even if another one ends it all.
                for future in sorted(done, key=_went_wrong):
                    made, thing = future.result(), asked.pop(future)
                    if isinstance(made, RefusedError):
                        in_a_row = in_a_row + 1 if made.transient else 0
                        if made.unreachable or in_a_row >= GIVE_UP_AFTER:
                            raise unreachable(endpoint.address, made.reason)
                    else:
                        in_a_row = 0
                    yield thing, made
        finally:
            for future in running:
                future.cancel()


def _went_wrong(future: "Future[R | RefusedError]") -> bool:
    return future.exception() is not None or isinstance(future.result(), RefusedError)
