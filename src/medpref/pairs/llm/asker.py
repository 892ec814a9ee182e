"""Ask a model behind an endpoint: what is kept is not asked again, and what comes is kept at once."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from medpref.endpoints.chat import read_completion
from medpref.endpoints.endpoint import Endpoint, RefusedError
from medpref.endpoints.many import post_each
from medpref.endpoints.rate import RateLimit
from medpref.pairs.llm.cache import ReplyCache, default_cache
from medpref.pairs.llm.cost import announce, estimate, prompt_tokens, reply_cost
from medpref.pairs.llm.request import Refusal, Reply, Request
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

    def ask(self, requests: Sequence[Request], advance: Callable[[int], None] = lambda _: None) -> list[Made]:
        """Return a reply or a refusal for each request, in order; equal requests are asked once.

        Raises:
            InputError: it may cost too much, or the endpoint takes no request at all.
            RunError: the endpoint cannot be reached, or keeps failing. What came is kept.
        """
        keys = [request.key(self.settings) for request in requests]
        self._seen.update(keys)
        by_key = dict(zip(keys, requests, strict=True))
        found: dict[str, Made] = {key: reply for key in by_key if (reply := self.cache.get(key))}
        self.kept += len(found)
        todo = {key: request for key, request in by_key.items() if key not in found}
        announce(estimate(todo.values(), len(found), self.settings), self.spent, self.settings)
        times = Counter(keys)
        advance(sum(times[key] for key in found))
        if todo:
            for key, made in self._get(todo):
                found[key] = made
                if isinstance(made, Reply):
                    self.cache.put(key, made)
                    self.asked += 1
                    self.spent += reply_cost(todo[key], made, self.settings)
                advance(times[key])
        return [found[key] for key in keys]

    def told(self) -> dict[str, Any]:
        """Return what a report says: replies that came and that were kept, and what they cost."""
        prices = self.settings.prices
        cost = {"cost": self.spent, "currency": prices.currency} if prices else {}
        return {"asked": self.asked, "kept": self.kept, **cost}

    @abstractmethod
    def _get(self, requests: Mapping[str, Request]) -> Iterator[tuple[str, Made]]:
        """Yield each request's key with what came back."""


class LiveAsker(Asker):
    """Posts each request to the endpoint, some at a time and no faster than the settings allow."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        self._limit = RateLimit(settings.requests_per_minute, settings.tokens_per_minute)

    def _get(self, requests: Mapping[str, Request]) -> Iterator[tuple[str, Made]]:
        """Yield replies as they come. Raises `InputError` where the key's variable is not set."""
        # Not before something is asked: kept replies need no key.
        endpoint = Endpoint(self.settings.endpoint, self.settings)
        post = partial(self._post, endpoint)
        for (key, _), made in post_each(endpoint, requests.items(), post, self.settings.concurrency):
            yield key, Refusal(made.reason) if isinstance(made, RefusedError) else made

    async def _post(self, endpoint: Endpoint, client: "AsyncClient", thing: tuple[str, Request]) -> Reply:
        import anyio

        _, request = thing
        # In a thread: an image of many megapixels takes a while to encode.
        body = await anyio.to_thread.run_sync(request.body, self.settings)
        tokens = prompt_tokens(request, self.settings) + self.settings.max_tokens
        admit = partial(self._limit.admit, tokens)
        made = read_completion(await endpoint.post(client, "chat/completions", body, admit))
        return Reply(made.text, made.finish, made.prompt_tokens, made.tokens)
