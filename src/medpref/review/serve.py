"""Run the server: on loopback, or beyond it with TLS or an explicit word."""

import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from medpref.errors import InputError, RunError
from medpref.review.access import Access
from medpref.review.rate import RateLimit
from medpref.review.store import Store

# A reviewer at the keyboard needs a few requests an item, and the first page a dozen.
_BURST, _EACH_SECOND = 300, 30.0
_SIGN_IN_BURST, _SIGN_INS_EACH_SECOND = 10, 0.2


class ServerSettings(BaseModel):
    """Where a review is served.

    Attributes:
        host: the address to listen at.
        port: the port, 0 for any that is free.
        certificate, key: PEM files for TLS.
        names: further names that browsers call the server by, such as ``reviews.example.org``.
        without_tls: whether the server may listen beyond loopback without TLS.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(8765, ge=0, le=65535)
    certificate: Path | None = None
    key: Path | None = None
    names: tuple[str, ...] = ()
    without_tls: bool = False

    @property
    def scheme(self) -> str:
        """``https`` with a certificate, ``http`` without."""
        return "https" if self.certificate else "http"


def check_binding(settings: ServerSettings) -> None:
    """Refuse to carry tokens and images over a network in the clear.

    Raises:
        InputError: the server would listen beyond loopback without TLS and without the word for it, or a file
            for TLS is missing.
    """
    if (settings.certificate is None) != (settings.key is None):
        raise InputError("--certificate and --key belong together")
    for path in (settings.certificate, settings.key):
        if path is not None and not path.is_file():
            raise InputError("there is no such file", where=str(path))
    if not (settings.certificate or settings.without_tls or _is_loopback(settings.host)):
        raise InputError(
            f"{settings.host} is not loopback, and without TLS anybody on the way could read along",
            where="--host",
            remedy="Give --certificate and --key, or tunnel to 127.0.0.1 with ssh -L; --without-tls serves"
            " in the clear all the same.",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # A name may mean any address tomorrow.
        return False


def listen(settings: ServerSettings) -> socket.socket:
    """Return a socket that listens.

    Raises:
        RunError: the address is taken, or is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=100)
    except (OSError, UnicodeError) as error:
        raise RunError(
            f"cannot listen at {settings.host}, port {settings.port}: {getattr(error, 'strerror', error)}",
            remedy="Choose another with --port, or end the server that has it.",
        ) from None


def hosts(settings: ServerSettings, port: int) -> list[str]:
    """Return what browsers may call the server, the name for links first."""
    literal = f"[{settings.host}]" if ":" in settings.host else settings.host
    own = ["localhost", "127.0.0.1", "[::1]"]
    everywhere = settings.host in ("0.0.0.0", "::")
    names = [*settings.names, *([] if everywhere else [literal]), *own]
    standard = port == {"http": 80, "https": 443}[settings.scheme]
    return list(dict.fromkeys(name if standard else f"{name}:{port}" for name in names))


def require_server() -> None:
    """Check that the server's packages are installed.

    Raises:
        InputError: they are not.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"serving a review needs {error.name}", remedy="pip install 'medpref[review]'"
        ) from None


def serve(
    run: Path,
    store: Store,
    access: Access,
    settings: ServerSettings,
    announce: Callable[[str], None],
    when_done: Callable[[], None],
) -> None:
    """Serve a review until the process is told to end.

    Args:
        run: the run folder.
        store: the judgements.
        access: the reviewers.
        settings: where.
        announce: called with the page's address once it can be opened.
        when_done: called when the server ends in good order; a killed one leaves everything saved.

    Raises:
        InputError: the binding is refused.
        RunError: the address cannot be listened at.
    """
    import uvicorn

    from medpref.review.app import Review, make_app
    from medpref.review.guard import Guard

    check_binding(settings)
    listening = listen(settings)
    port = listening.getsockname()[1]
    names = hosts(settings, port)
    review = Review(
        run=run,
        store=store,
        access=access,
        cookie=f"medpref-review-{port}",
        secure=settings.scheme == "https",
        sign_ins=RateLimit(_SIGN_IN_BURST, _SIGN_INS_EACH_SECOND),
    )
    app = Guard(make_app(review, when_done), names, settings.scheme, RateLimit(_BURST, _EACH_SECOND))
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        # Addresses that a request claims for itself would lead the rate limit astray.
        proxy_headers=False,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        timeout_graceful_shutdown=5,
        lifespan="on",
        ws="none",
    )
    announce(f"{settings.scheme}://{names[0]}")
    uvicorn.Server(config).run(sockets=[listening])
