import asyncio

import pytest

from medpref.endpoints.rate import RateLimit


class Clock:
    """A clock that sleeping moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def admitted(requests: int | None, tokens: int | None, sizes: list[int]) -> list[float]:
    """Return the seconds from the start at which requests of these sizes are let through."""
    clock = Clock()
    limit = RateLimit(requests, tokens, clock.time, clock.sleep)
    times = []
    for size in sizes:
        asyncio.run(limit.admit(size))
        times.append(clock.now - 100.0)
    return times


@pytest.mark.parametrize(
    ("requests", "tokens", "sizes", "expected"),
    [
        (None, None, [5, 5, 5], [0, 0, 0]),
        (2, None, [5, 5, 5, 5, 5], [0, 0, 60, 60, 120]),
        (None, 10, [4, 4, 4, 4], [0, 0, 60, 60]),
        # More than a minute's worth waits until the minute is empty, and then keeps the next out.
        (None, 10, [4, 25, 1], [0, 60, 120]),
        (3, 10, [1, 9, 1, 9], [0, 0, 60, 60]),
    ],
)
def test_no_minute_holds_more_than_is_allowed(
    requests: int | None, tokens: int | None, sizes: list[int], expected: list[float]
) -> None:
    assert admitted(requests, tokens, sizes) == expected
