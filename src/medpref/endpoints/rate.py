"""How fast an endpoint may be asked: requests and tokens a minute."""

import time
from collections import deque
from collections.abc import Awaitable, Callable

MINUTE = 60.0
"""Seconds over which requests and tokens are counted."""


class RateLimit:
    """Lets requests through so that no minute holds more of them, or of their tokens, than is allowed.

    For one event loop at a time.

    Args:
        requests: the most a minute; None for no limit.
        tokens: the most a minute; None for no limit. A request of more waits for a minute of its own.
        clock: the time in seconds.
        sleep: waits for some seconds; anyio's by default.
    """

    def __init__(
        self,
        requests: int | None,
        tokens: int | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        self._requests = requests
        self._tokens = tokens
        self._clock = clock
        self._sleep = sleep
        self._sent: deque[tuple[float, int]] = deque()

    async def admit(self, tokens: int) -> None:
        """Wait until a request of that many tokens may be sent, and count it."""
        while (wait := self._wait(tokens)) > 0:
            await self._pause(wait)
        self._sent.append((self._clock(), tokens))

    def _wait(self, tokens: int) -> float:
        """Return the seconds until the oldest counted request is a minute old; 0 where there is room."""
        now = self._clock()
        while self._sent and now - self._sent[0][0] >= MINUTE:
            self._sent.popleft()
        used = sum(amount for _, amount in self._sent)
        full = self._requests is not None and len(self._sent) >= self._requests
        over = self._tokens is not None and bool(self._sent) and used + tokens > self._tokens
        return self._sent[0][0] + MINUTE - now if full or over else 0.0

    async def _pause(self, seconds: float) -> None:
        if self._sleep is not None:
            await self._sleep(seconds)
            return
        import anyio

        await anyio.sleep(seconds)
