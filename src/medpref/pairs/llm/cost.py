"""What requests will cost, by a rough rule, before any of them is sent."""

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from medpref.errors import InputError
from medpref.pairs.llm.prompts import LONGEST_REPEATED
from medpref.pairs.llm.request import Reply, Request
from medpref.pairs.llm.settings import ModelSettings, Prices

BYTES_PER_TOKEN = 4
"""A token is taken for four bytes of UTF-8: about right for English, too few for some medical terms."""
TOKENS_PER_MESSAGE = 4
"""What a message takes beside its text."""
INSTRUCTION_TOKENS = 60
"""About what an instruction to try again takes, beside replies that it repeats."""


@dataclass(frozen=True, slots=True)
class FollowUps:
    """What may be asked after the first reply to a request.

    Attributes:
        most: how many more requests that may take.
        opinions: how many other replies each of them repeats, beside the model's own.
    """

    most: int = 0
    opinions: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What requests will take.

    Attributes:
        requests: how many are sent.
        kept: how many need not be, as their replies are kept.
        prompt_tokens: read, by the rule.
        tokens: written, if each reply were as long as it may be.
        prices: what they cost; None where nobody said.
    """

    requests: int
    kept: int
    prompt_tokens: int
    tokens: int
    prices: Prices | None

    @property
    def cost(self) -> float | None:
        """What it costs if each reply is as long as it may be, in the prices' currency."""
        return None if self.prices is None else money(self.prices, self.prompt_tokens, self.tokens)

    def __str__(self) -> str:
        """Return one line for people."""
        kept = f" ({self.kept} more are kept)" if self.kept else ""
        text = (
            f"{self.requests} requests{kept}, about {self.prompt_tokens:,} tokens read "
            f"and at most {self.tokens:,} written"
        )
        if self.prices is None or self.cost is None:
            return f"{text}; no prices are given"
        return f"{text}: at most {self.cost:.4g} {self.prices.currency}"


def prompt_tokens(request: Request, settings: ModelSettings) -> int:
    """Return how many tokens a request is taken to have: bytes / 4, 4 a message, and those of images."""
    texts = sum(
        math.ceil(len(message.text.encode()) / BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE
        for message in request.messages
    )
    return texts + len(request.images) * settings.image_tokens


def money(prices: Prices, prompt: int, written: int) -> float:
    """Return what so many tokens cost."""
    return (prompt * prices.input + written * prices.output) / 1e6


def estimate(requests: Iterable[Request], kept: int, settings: ModelSettings) -> Estimate:
    """Return what `requests` will take; `kept` others have their reply already."""
    read = [prompt_tokens(request, settings) for request in requests]
    return Estimate(len(read), kept, sum(read), len(read) * settings.max_tokens, settings.prices)


def with_follow_ups(first: Estimate, more: FollowUps, settings: ModelSettings) -> Estimate:
    """Return what requests take if each of them needs all its follow-ups, which repeat what was said."""
    reply = min(settings.max_tokens, LONGEST_REPEATED // BYTES_PER_TOKEN)
    added = reply + more.opinions * settings.max_tokens + INSTRUCTION_TOKENS + 2 * TOKENS_PER_MESSAGE
    askings = 1 + more.most
    # The second request has one addition more than the first, the third two more: 0 + 1 + 2 + …
    repeated = first.requests * added * (askings * more.most // 2)
    return Estimate(
        first.requests * askings,
        first.kept,
        first.prompt_tokens * askings + repeated,
        first.tokens * askings,
        first.prices,
    )


def reply_cost(request: Request, reply: Reply, settings: ModelSettings) -> float:
    """Return what a reply did cost: by the endpoint's own count, or by the rule where it tells none."""
    if settings.prices is None:
        return 0.0
    read = prompt_tokens(request, settings) if reply.prompt_tokens is None else reply.prompt_tokens
    written = settings.max_tokens if reply.tokens is None else reply.tokens
    return money(settings.prices, read, written)


def announce(expected: Estimate, more: FollowUps, settings: ModelSettings) -> None:
    """Print an estimate to standard error, and what it may become with all follow-ups."""
    if not expected.requests:
        return
    print(f"{settings.model} at {settings.endpoint}: {expected}", file=sys.stderr, flush=True)
    if more.most:
        most = with_follow_ups(expected, more, settings)
        print(f"  if each reply needs all that may follow: {most}", file=sys.stderr, flush=True)


def check_limit(expected: Estimate, spent: float, settings: ModelSettings) -> None:
    """Hold an estimate against the limit.

    Raises:
        InputError: with what is spent already it may cost more than the settings allow.
    """
    if settings.max_cost is None or expected.cost is None or not expected.requests:
        return
    if spent + expected.cost <= settings.max_cost:
        return
    before = f" beside {spent:.4g} already spent" if spent else ""
    raise InputError(
        f"{expected.requests} requests may cost {expected.cost:.4g}{before}, "
        f"more than max_cost ({settings.max_cost:g})",
        where=settings.model,
        remedy="Raise max_cost, take fewer pairs, or lower max_tokens or repairs. What came is kept.",
    )


def check_spent(spent: float, settings: ModelSettings) -> None:
    """Hold what replies did cost against the limit: the estimate is a rough one.

    Raises:
        InputError: it is more than the settings allow.
    """
    if settings.max_cost is not None and spent > settings.max_cost:
        raise InputError(
            f"replies cost more than was estimated: {spent:.4g} are spent, max_cost is {settings.max_cost:g}",
            where=settings.model,
            remedy="Raise max_cost, and image_tokens if images are sent. Replies that came are kept.",
        )
