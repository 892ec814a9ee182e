"""Ask a model behind an endpoint: what is kept is not asked again, and what comes is kept at once."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from medpref.endpoints.endpoint import Endpoint, RefusedError
from medpref.endpoints.many import post_each
from medpref.endpoints.rate import RateLimit
from medpref.pairs.llm.cache import ReplyCache, default_cache
from medpref.pairs.llm.cost import (
    FollowUps,
    announce,
    check_limit,
    check_spent,
    estimate,
    prompt_tokens,
    reply_cost,
)
from medpref.pairs.llm.request import Refusal, Reply, Request, read_made
from medpref.pairs.llm.settings import ModelSettings

if TYPE_CHECKING:
    from httpx2 import AsyncClient

Made: TypeAlias = Reply | Refusal


class Asker(ABC):
    """Answers requests from what is kept, and gets the others.

    Args:
        settings: the model, its limits and where replies are kept.

    Attributes:
        asked: how many replies came from the model.
        kept: how many were kept from before.
        spent: what the former cost, in the currency of the prices.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        self.cache = ReplyCache(settings.cache or default_cache())
        self.asked = 0
        self.kept = 0
        self.spent = 0.0
        self._seen: set[str] = set()

    def foresee(self, requests: Sequence[Request], more: FollowUps) -> None:
        """Tell what `requests` will cost and what that may become; nothing is asked.

        Raises:
            InputError: already the requests themselves may cost more than the settings allow.
        """
        by_key = {request.key(self.settings): request for request in requests}
        todo = {key: request for key, request in by_key.items() if self._known(key) is None}
        expected = estimate(todo.values(), len(by_key) - len(todo), self.settings)
        announce(expected, more, self.settings)
        self._seen.update(by_key)
        check_limit(expected, self.spent, self.settings)

    def ask(self, requests: Sequence[Request], advance: Callable[[int], None] = lambda _: None) -> list[Made]:
        """Return a reply or a refusal for each request, in order; equal requests are asked once.

        Raises:
            InputError: it may cost too much, or the endpoint takes no request at all.
            RunError: the endpoint cannot be reached, or keeps failing. What came is kept.
        """
        keys = [request.key(self.settings) for request in requests]
        times = Counter(keys)
        by_key = dict(zip(keys, requests, strict=True))
        found = self._find(by_key)
        todo = {key: request for key, request in by_key.items() if key not in found}
        expected = estimate(todo.values(), len(found), self.settings)
        if not self._seen.issuperset(todo):
            announce(expected, FollowUps(), self.settings)
        self._seen.update(keys)
        check_limit(expected, self.spent, self.settings)
        advance(sum(times[key] for key in found))
        if todo:
            with closing(self._get(todo)) as coming:
                for key, made in coming:
                    found[key] = made
                    self._keep(key, todo[key], made)
                    advance(times[key])
                    if len(found) < len(by_key):
                        check_spent(self.spent, self.settings)
        return [found[key] for key in keys]

    def told(self) -> dict[str, Any]:
        """Return what a report says: replies that came and that were kept, and what they cost."""
        prices = self.settings.prices
        cost = {"cost": self.spent, "currency": prices.currency} if prices else {}
        return {"asked": self.asked, "kept": self.kept, **cost}

    def _find(self, requests: Mapping[str, Request]) -> dict[str, Made]:
        """Return what is known of `requests`; what was not in the cache is put there and counted."""
        found: dict[str, Made] = {}
        for key, request in requests.items():
            if reply := self.cache.get(key):
                found[key] = reply
                self.kept += 1
            elif given := self._given(key):
                found[key] = given
                self._keep(key, request, given)
        return found

    def _known(self, key: str) -> Made | None:
        return self.cache.get(key) or self._given(key)

    def _keep(self, key: str, request: Request, made: Made) -> None:
        if isinstance(made, Reply):
            self.cache.put(key, made)
        said = made if isinstance(made, Reply) else made.said
        if said is not None:
            self.asked += 1
            self.spent += reply_cost(request, said, self.settings)

    def _given(self, key: str) -> Made | None:
        """Return what came back of a request without asking now; nothing, for those who ask at once."""
        return None

    @abstractmethod
    def _get(self, requests: Mapping[str, Request]) -> Generator[tuple[str, Made], None, None]:
        """Yield each request's key with what came back."""


class LiveAsker(Asker):
    """Posts each request to the endpoint, some at a time and no faster than the settings allow."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        self._limit = RateLimit(settings.requests_per_minute, settings.tokens_per_minute)

    def _get(self, requests: Mapping[str, Request]) -> Generator[tuple[str, Made], None, None]:
        """Yield replies as they come. Raises `InputError` where the key's variable is not set."""
        # Not before something is asked: kept replies need no key.
        endpoint = Endpoint(self.settings.endpoint, self.settings)
        post = partial(self._post, endpoint)
        for (key, _), made in post_each(endpoint, requests.items(), post, self.settings.concurrency):
            yield key, Refusal(made.reason) if isinstance(made, RefusedError) else made

    async def _post(self, endpoint: Endpoint, client: "AsyncClient", thing: tuple[str, Request]) -> Made:
        import anyio

        _, request = thing
        # In a thread: an image of many megapixels takes a while to encode.
        body = await anyio.to_thread.run_sync(request.body, self.settings)
        tokens = prompt_tokens(request, self.settings) + self.settings.max_tokens
        admit = partial(self._limit.admit, tokens)
        return read_made(await endpoint.post(client, "chat/completions", body, admit))
