"""What every request passes before the application sees it, and what every answer carries."""

import math
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from medpref.review.rate import RateLimit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

LARGEST_BODY = 64 * 1024

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""What every answer carries: nothing is kept, framed or sent elsewhere, and only the page's scripts run."""


class TooLargeError(Exception):
    """A request's body is larger than any judgement."""


class Guard:
    """An ASGI application in front of another.

    Args:
        app: the application.
        hosts: the names that browsers may call the server by, with ports. A page of another site that has its
            own name point at this machine (DNS rebinding) sends that name.
        scheme: ``http`` or ``https``.
        limit: how often an address may ask.
    """

    def __init__(self, app: App, hosts: Collection[str], scheme: str, limit: RateLimit) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(f"{scheme}://{host}" for host in self._hosts)
        self._limit = limit

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer, or let the application answer."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError("only HTTP is served")
        refusal = self._refusal(scope)
        if refusal:
            await _refuse(send, *refusal)
            return
        try:
            await self._app(scope, _counted(receive), _with_headers(send))
        except TooLargeError:
            await _refuse(send, 413, "the request is too large")

    def _refusal(self, scope: MutableMapping[str, Any]) -> tuple[int, str, float] | None:
        """Return status, reason and seconds to wait for a request that goes no further."""
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        wait = self._limit.wait((scope.get("client") or ("",))[0])
        if wait:
            return 429, "too many requests", wait
        if headers.get("host", "").lower() not in self._hosts:
            return 421, "this server is not called so", 0
        # Browsers say where a request comes from. Other sites may lead here, as a link in a mail does.
        elsewhere = headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if elsewhere and not _is_visit(scope, headers):
            return 403, "requests from other sites are refused", 0
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in self._origins:
            return 403, "requests from other sites are refused", 0
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            return 413, "the request is too large", 0
        return None


def _is_visit(scope: MutableMapping[str, Any], headers: dict[str, str]) -> bool:
    """Tell whether a link to the page, which holds nothing of the study, was followed."""
    asked = scope["method"], scope["path"], headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    return asked == ("GET", "/", "navigate", "document")


def _counted(receive: Receive) -> Receive:
    """Return `receive` such that a body without a length is not read for ever."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > LARGEST_BODY:
            raise TooLargeError
        return message

    return counted


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message["headers"] = [*message.get("headers", []), *own]
        await send(message)

    return sending


async def _refuse(send: Send, status: int, reason: str, wait: float = 0) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if wait:
        headers.append((b"retry-after", str(math.ceil(wait)).encode()))
    await _with_headers(send)({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})
