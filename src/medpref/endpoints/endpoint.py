"""Post JSON to an endpoint that the user named, and to no other; errors repeat no secrets."""

import math
import os
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from medpref.errors import InputError, RunError

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

FIRST_WAIT = 0.5
"""Seconds before the second try; each later wait is twice as long."""
LONGEST_REASON = 300
"""The most characters of a server's own words that are repeated."""
# What a shell takes for a variable's name; most keys are longer or hold a dash.
VARIABLE = re.compile(r"[A-Za-z_]\w{0,47}", re.ASCII)
# What waiting may mend: a server that is busy, restarting, or behind a proxy that gave up.
TRANSIENT = frozenset({408, 409, 425, 429}) | frozenset(range(500, 600))
# What no question can mend: each has its remedy.
FATAL: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "Name the variable that holds the key: --set key_variable=NAME.",
    HTTPStatus.FORBIDDEN: "Name the variable that holds the key: --set key_variable=NAME.",
    HTTPStatus.NOT_FOUND: "Check address (it often ends in /v1) and --model.",
}


class ConnectionSettings(BaseModel):
    """How an endpoint is reached; messages never repeat what was given.

    Attributes:
        key_variable: the environment variable that holds the API key. The key itself is written nowhere.
        timeout: seconds that one answer may take.
        connect_timeout: seconds that opening a connection may take.
        retries: how often a question is asked again after an error that waiting may mend.
        longest_wait: the most seconds between two tries; an endpoint that asks for more is not waited for.
        trust_env: use proxies and certificates that environment variables name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    key_variable: str | None = None
    timeout: float = Field(600.0, gt=0)
    connect_timeout: float = Field(10.0, gt=0)
    retries: int = Field(5, ge=0)
    longest_wait: float = Field(120.0, ge=0)
    trust_env: bool = False

    @field_validator("key_variable")
    @classmethod
    def _name(cls, name: str | None) -> str | None:
        # Not repeated: it may be the key, pasted into the wrong place.
        if name is not None and not VARIABLE.fullmatch(name):
            raise ValueError("this is no environment variable's name; name the variable, not the key itself")
        return name


async def _at_once() -> None:
    """Wait for nothing."""


class RefusedError(Exception):
    """One request got no usable answer.

    Args:
        reason: one line, without secrets and image bytes.
        transient: whether trying again might have helped; it has been tried as often as the settings say.
        unreachable: whether not even a connection could be opened.
    """

    def __init__(self, reason: str, *, transient: bool = False, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.transient = transient
        self.unreachable = unreachable


class Endpoint:
    """An address that JSON is posted to.

    Args:
        address: ``http://`` or ``https://``, host and path.
        settings: key, limits and retries.

    Raises:
        InputError: the address is none, or holds a password or a query; the key's variable is not set.
    """

    def __init__(self, address: str, settings: ConnectionSettings) -> None:
        self.address = check_address(address)
        self._settings = settings
        self._key = _read_key(settings.key_variable)
        # A generator of its own: waiting must not disturb what others draw.
        self._random = random.Random()

    @property
    def host(self) -> str:
        """The host's name, for messages."""
        return urlsplit(self.address).hostname or ""

    @asynccontextmanager
    async def client(self, connections: int) -> "AsyncIterator[AsyncClient]":
        """Open a client that keeps at most `connections` connections."""
        httpx = import_httpx()
        settings = self._settings
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        async with httpx.AsyncClient(
            headers=headers,
            # Redirects stay off: what is posted goes to the host that the user named.
            follow_redirects=False,
            trust_env=settings.trust_env,
            timeout=httpx.Timeout(None, connect=settings.connect_timeout),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        ) as client:
            yield client

    async def post(
        self,
        client: "AsyncClient",
        path: str,
        body: Mapping[str, Any],
        admit: Callable[[], Awaitable[None]] = _at_once,
    ) -> dict[str, Any]:
        """Post `body` below the address and return the JSON object that comes back.

        Args:
            client: one that `client` opened.
            path: below the address.
            body: what is posted.
            admit: awaited before each try, so that a limit counts retries too.

        Raises:
            RefusedError: this request failed, where waiting may help after all retries.
            InputError: the endpoint takes no request at all: a wrong key, a wrong address, a redirect.
        """
        import anyio

        for attempt in range(self._settings.retries + 1):
            await admit()
            try:
                return await self._try(client, path, body)
            except _TryAgainError as again:
                wait = self._wait(attempt, again.after)
                if attempt == self._settings.retries or wait > self._settings.longest_wait:
                    told = f" (asked to wait {wait:.0f} s)" if wait > self._settings.longest_wait else ""
                    raise RefusedError(
                        f"{again.reason}{told}", transient=True, unreachable=again.unreachable
                    ) from None
                await anyio.sleep(wait)
        raise AssertionError("the last try returns or raises")

    async def _try(self, client: "AsyncClient", path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        import anyio

        httpx = import_httpx()
        try:
            with anyio.fail_after(self._settings.timeout):
                response = await client.post(f"{self.address}/{path}", json=body)
        except TimeoutError:
            raise _TryAgainError(f"no answer within {self._settings.timeout:g} s") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _TryAgainError(
                f"no connection to {self.host} ({type(error).__name__})", unreachable=True
            ) from None
        except httpx.RequestError as error:
            raise _TryAgainError(f"the connection broke ({type(error).__name__})") from None
        self._check(response)
        try:
            value = response.json()
        except (ValueError, RecursionError):
            raise _TryAgainError("what came back is no JSON") from None
        if not isinstance(value, dict):
            raise RefusedError("what came back is no JSON object")
        return value

    def _check(self, response: "Response") -> None:
        status = response.status_code
        if response.is_success:
            return
        if status in TRANSIENT:
            raise _TryAgainError(
                self._describe(response), after=retry_after(response.headers.get("retry-after"))
            )
        if 300 <= status < 400:
            raise InputError(
                "the endpoint sends requests on to another address, which is refused",
                where=self.address,
                remedy="Name the right address yourself.",
            )
        if status in FATAL:
            raise InputError(self._describe(response), where=self.address, remedy=FATAL[status])
        raise RefusedError(self._describe(response))

    def _describe(self, response: "Response") -> str:
        """Return the status and the beginning of the server's own words, without key and image bytes."""
        words = scrub(response.text, self._key)
        return f"status {response.status_code}" + (f": {words}" if words else "")

    def _wait(self, attempt: int, asked: float | None) -> float:
        """Return the seconds before the next try: twice as long each time, and what the server asked for."""
        # Up to a half less, so that many clients do not come back at once.
        own: float = FIRST_WAIT * 2**attempt * self._random.uniform(0.5, 1)
        # A server that asks for no wait at all is still not asked at once, again and again.
        return max(asked or 0.0, min(self._settings.longest_wait, own))


class _TryAgainError(Exception):
    """A try failed and another one may not; `after` is how many seconds the server asked to wait."""

    def __init__(self, reason: str, after: float | None = None, *, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after
        self.unreachable = unreachable


def check_address(address: str) -> str:
    """Return an endpoint's address without a slash at its end.

    Raises:
        InputError: it is no address, or holds a password or a query; the message repeats neither.
    """
    try:
        parts = urlsplit(address)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise InputError("an endpoint is an address such as http://127.0.0.1:8000/v1", where="the endpoint")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise InputError(
            "an endpoint's address holds no name, password or query",
            where=parts.hostname,
            remedy="Put the key into an environment variable and name it: --set key_variable=NAME.",
        )
    return address.rstrip("/")


def retry_after(header: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for (RFC 9110, 10.2.3), or None."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def scrub(text: str, key: str | None) -> str:
    """Return the beginning of a server's words on one line, without the key and without encoded images."""
    if key:
        text = text.replace(key, "***")
    text = re.sub(r"data:[\w/+.-]*;base64,[A-Za-z0-9+/=_-]*", "(an image)", text)
    text = re.sub(r"[A-Za-z0-9+/=_-]{80,}", "(data)", text)
    # Halves of surrogate pairs, which JSON can hold, cannot be written again.
    text = " ".join(text.encode(errors="replace").decode().split())
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"


def import_httpx() -> Any:
    """Return the HTTP client's module.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module("httpx2")
    except ModuleNotFoundError:
        raise InputError(
            "the HTTP client is not installed", remedy="Install it with: pip install 'medpref[openai]'."
        ) from None


def unreachable(address: str, reason: str) -> RunError:
    """Return the error for an endpoint that nothing can be asked of."""
    return RunError(
        reason,
        where=address,
        remedy="Start the server, or check the address. What is answered is kept.",
    )


def _read_key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise InputError("this environment variable is not set or empty", where=variable)
    if not (key.isascii() and key.isprintable()):
        raise InputError(
            "this environment variable holds no key: it has unprintable characters", where=variable
        )
    return key
