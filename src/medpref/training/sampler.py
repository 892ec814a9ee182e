"""Which groups each batch of a run holds: a pure function of the seed, the groups and the settings.

The batches of a whole run are known before it starts, so that a killed run goes on with the batch that it
would have come to. Each part is passed over in an order of its own, shuffled anew for each pass. In a
mixture, each place of a batch draws its part with a probability in proportion to the parts' shares, then
takes that part's next group: shares are of groups, not of pairs, and a part that is small for its share is
passed over more often than the others.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch.utils.data import Sampler

from medpref.errors import InputError

# Batches that are sorted by length together. More of them save more padding, but leave less to chance.
WINDOW = 16

Batches = list[list[int]]


class BatchSize(NamedTuple):
    """How much one batch holds.

    Attributes:
        groups: so many groups, where there is no budget.
        tokens: a budget: as many groups as fit into this many tokens, padding included.
    """

    groups: int
    tokens: int | None = None


class Mixture(NamedTuple):
    """Which groups there are.

    Attributes:
        parts: for each group, the number of its part.
        shares: for each part, how often it is drawn, relative to the other parts.
        rows: for each group, the lengths of its rows in tokens; only read with a budget or `by_length`.
        hardness: for each group, how hard it is: the first pass over a part goes from hard to easy. Empty for
            a shuffled pass.
    """

    parts: Sequence[int]
    shares: Sequence[float]
    rows: Sequence[tuple[int, ...]] = ()
    hardness: Sequence[float] = ()


def run_batches(mixture: Mixture, size: BatchSize, count: int, seed: int, *, by_length: bool) -> Batches:
    """Return the `count` batches of a run, each a list of group numbers.

    Args:
        mixture: the groups.
        size: how much one batch holds.
        count: how many batches.
        seed: of the orders and the draws.
        by_length: sort the groups of `WINDOW` batches by length before they are cut into batches, then
            shuffle these. A batch at the end of a window may stay below a budget.

    Raises:
        InputError: a group is larger than the budget.
    """
    check_budget(mixture, size)
    order = _order(mixture, seed)
    if not by_length:
        return list(itertools.islice(_pack(order, mixture.rows, size), count))
    batches: Batches = []
    for number, window in enumerate(_windows(order, mixture.rows, size)):
        window.sort(key=lambda group: max(mixture.rows[group]))
        found = list(_pack(iter(window), mixture.rows, size))
        random.Random(f"{seed}/window/{number}").shuffle(found)
        batches += found
        if len(batches) >= count:
            break
    return batches[:count]


def pass_batches(mixture: Mixture, size: BatchSize) -> Batches:
    """Return batches that hold every group once, in order: those of an evaluation."""
    check_budget(mixture, size)
    return list(_pack(iter(range(len(mixture.parts))), mixture.rows, size))


def check_budget(mixture: Mixture, size: BatchSize) -> None:
    """Check that each group fits into a batch by itself.

    Raises:
        InputError: one does not; the message tells the tokens that it takes.
    """
    if size.tokens is None:
        return
    largest = max(_cost(rows) for rows in mixture.rows)
    if largest > size.tokens:
        raise InputError(
            f"one image with its pairs takes {largest} tokens",
            where=f"tokens_per_step: {size.tokens}",
            remedy=f"Set tokens_per_step to {largest} or more, or lower pairs_per_image.",
        )


def _order(mixture: Mixture, seed: int) -> Iterator[int]:
    """Yield group numbers without end."""
    members: list[list[int]] = [[] for _ in mixture.shares]
    for group, part in enumerate(mixture.parts):
        members[part].append(group)
    streams = [
        _passes(groups, f"{seed}/part/{part}", mixture.hardness) for part, groups in enumerate(members)
    ]
    draw = random.Random(f"{seed}/mixture")
    while True:
        yield next(draw.choices(streams, mixture.shares)[0])


def _passes(groups: Sequence[int], seed: str, hardness: Sequence[float]) -> Iterator[int]:
    """Yield all of `groups` over and over, each time in another order, the first time the hardest first."""
    for number in itertools.count():
        order = random.Random(f"{seed}/{number}").sample(groups, len(groups))
        if hardness and number == 0:
            # Sorting keeps the order of equals, which has been shuffled.
            order.sort(key=lambda group: -hardness[group])
        yield from order


def _pack(order: Iterator[int], rows: Sequence[tuple[int, ...]], size: BatchSize) -> Iterator[list[int]]:
    """Cut an order into batches."""
    if size.tokens is None:
        yield from iter(lambda: list(itertools.islice(order, size.groups)), [])
        return
    batch: list[int] = []
    lengths: tuple[int, ...] = ()
    for group in order:
        if batch and _cost(lengths + rows[group]) > size.tokens:
            yield batch
            batch, lengths = [], ()
        batch.append(group)
        lengths += rows[group]
    if batch:
        yield batch


def _cost(rows: Sequence[int]) -> int:
    """Return the tokens of a batch of rows, all padded to the longest."""
    return len(rows) * max(rows)


def _windows(order: Iterator[int], rows: Sequence[tuple[int, ...]], size: BatchSize) -> Iterator[list[int]]:
    """Cut an order into runs of about `WINDOW` batches that hold no group twice, if they can help it.

    Sorted by length, a group and its own repetition would always share a batch.
    """
    window: list[int] = []
    for group in order:
        if group in window or _is_full(window, rows, size):
            # What fills no whole batch waits for the next window; a budget's last batch may be small.
            end = len(window) - (len(window) % size.groups if size.tokens is None else 0)
            if end:
                yield window[:end]
            window = window[end:]
        window.append(group)


def _is_full(window: Sequence[int], rows: Sequence[tuple[int, ...]], size: BatchSize) -> bool:
    if size.tokens is None:
        return len(window) >= WINDOW * size.groups
    return sum(sum(rows[group]) for group in window) >= WINDOW * size.tokens


class ProcessShare(Sampler[list[int]]):
    """One process's share of each batch: every `processes`-th group, from the process's own number on.

    A process that would get nothing of a small batch gets its first group as ``~group``, not to be counted:
    all processes have to run the same number of passes.
    """

    def __init__(self, batches: Batches, process: int = 0, processes: int = 1) -> None:
        self.batches = batches
        self._process = process
        self._processes = processes

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the share of one batch after the other."""
        for batch in self.batches:
            yield batch[self._process :: self._processes] or [~batch[0]]
