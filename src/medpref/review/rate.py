"""How often an address may ask: a bucket that fills with time, on a clock that never jumps."""

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

_MOST_ADDRESSES = 10_000


class RateLimit:
    """Token buckets, one for each address.

    Args:
        burst: how many requests may come at once.
        each_second: how many more may come in each second.
        clock: seconds, never going back.
    """

    def __init__(self, burst: int, each_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = float(burst)
        self._each_second = each_second
        self._clock = clock
        self._lock = Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Count one request; return 0 where it may pass, else in how many seconds it may."""
        with self._lock:
            now = self._clock()
            left, then = self._buckets.pop(address, (self._burst, now))
            left = min(self._burst, left + (now - then) * self._each_second)
            passes = left >= 1
            self._buckets[address] = (left - passes, now)
            if len(self._buckets) > _MOST_ADDRESSES:
                self._buckets.popitem(last=False)
            return 0.0 if passes else (1 - left) / self._each_second
