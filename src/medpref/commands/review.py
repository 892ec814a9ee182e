"""``medpref review``: experts judge a run's answers in the browser."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from medpref.errors import InputError, MedprefError

if TYPE_CHECKING:
    from medpref.review.access import Access
    from medpref.review.serve import ServerSettings
    from medpref.review.store import Store

Names = list[str] | None


def review(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a study or of an evaluation.")],
    reviewer: Annotated[
        Names, typer.Option(help="Add a reviewer and print the link to sign in with; may be repeated.")
    ] = None,
    renew: Annotated[
        Names, typer.Option(help="Give a reviewer a new link; the old one ends. May be repeated.")
    ] = None,
    revoke: Annotated[
        Names, typer.Option(help="End a reviewer's access; what was judged stays. May be repeated.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="What is drawn: KEY=VALUE, such as questions=30 or compare=all."),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes any that is free.", min=0, max=65535)] = 8765,
    certificate: Annotated[Path | None, typer.Option(help="A certificate for TLS, as PEM.")] = None,
    key: Annotated[Path | None, typer.Option(help="The certificate's key, as PEM.")] = None,
    name: Annotated[
        Names, typer.Option(help="A further name that browsers call the server by; may be repeated.")
    ] = None,
    without_tls: Annotated[
        bool, typer.Option("--without-tls", help="Listen beyond this machine in the clear.")
    ] = False,
    export: Annotated[
        bool, typer.Option("--export", help="Write the judgements to RUN/logs/review, and end.")
    ] = False,
    table: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Write the judgements as a table, and end.")
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Say how far each reviewer is, and end.")] = False,
) -> None:
    """Serve a page where reviewers judge a run's answers, blind and in random order. Goes on where it was.

    Every judgement is on the disk before the page says so. When the server ends, and with --export, they go
    to RUN/logs/review, where reports and `medpref build --from-review` read them.
    """
    from medpref.commands.settings import read_settings
    from medpref.commands.working import only_writer
    from medpref.review.opening import FILE, open_review
    from medpref.review.serve import ServerSettings, check_binding, hosts, require_server

    screen = Console(soft_wrap=True)
    ends = export or status or table is not None
    where = ServerSettings(
        host=host,
        port=port,
        certificate=certificate,
        key=key,
        names=tuple(name or ()),
        without_tls=without_tls,
    )
    if not ends:
        require_server()
        check_binding(where)
    with open_review(run, read_settings(settings or []), begin=not ends) as (store, access):

        def change(address: str) -> None:
            tokens = _change(access, reviewer or [], renew or [], revoke or [], screen)
            _tell_links(address, tokens, screen)

        if ends:
            change(f"{where.scheme}://{hosts(where, port)[0]}")
            _end(run, store, access, export, table, screen)
            return
        if not (reviewer or access.reviewers):
            raise InputError("nobody may review yet", remedy="Add somebody: --reviewer NAME.")
        with only_writer(run / FILE, "judgements"):
            _serve(run, store, access, where, change, screen)


def _change(
    access: "Access", added: list[str], renewed: list[str], revoked: list[str], screen: Console
) -> dict[str, str]:
    """Add, renew and revoke; return the new tokens by reviewer."""
    tokens = {name: token for name in added if (token := access.add(name))}
    tokens |= {name: access.renew(name) for name in renewed}
    for name in revoked:
        access.revoke(name)
        _say(screen, f"{name} has no access any more; the judgements stay.")
    for name in added:
        if name not in tokens:
            _say(screen, f"{name} is a reviewer already, and has a link; --renew {name!r} gives a new one.")
    return tokens


def _serve(
    run: Path,
    store: "Store",
    access: "Access",
    where: "ServerSettings",
    change: Callable[[str], None],
    screen: Console,
) -> None:
    from medpref.review.serve import serve

    def announce(address: str) -> None:
        _say(screen, f"Review of {run}: {len(store.plan.items)} items at {address} (Ctrl-C ends)")
        # Only now: a token that nobody was told, as where the port is taken, would be lost.
        change(address)

    def when_done() -> None:
        try:
            _export(run, store, access, screen)
        except MedprefError as error:
            # The judgements themselves are saved.
            _say(Console(stderr=True, soft_wrap=True), f"not exported: {error}")

    try:
        serve(run, store, access, where, announce, when_done)
    except KeyboardInterrupt:
        # The usual way to end it: everything is saved by now.
        return


def _tell_links(address: str, tokens: dict[str, str], screen: Console) -> None:
    # Behind #, a browser keeps it to itself: it gets into no log and no referrer.
    for name, token in tokens.items():
        _say(screen, f"  {name}: {address}/#token={token}")
    if tokens:
        _say(
            screen, "Each link is shown only now and signs in whoever has it: send it to its reviewer alone."
        )


def _end(
    run: Path, store: "Store", access: "Access", export: bool, table: Path | None, screen: Console
) -> None:
    from medpref.review.export import rows, write_table

    if export:
        _export(run, store, access, screen)
    if table is not None:
        write_table(table, rows(store))
        _say(screen, f"Table: {table}")
    _tell_progress(store, access.reviewers, screen)


def _export(run: Path, store: "Store", access: "Access", screen: Console) -> None:
    from medpref.review.export import export_logs

    _say(screen, f"Judgements: {export_logs(store, access, run)}; medpref report {run} shows them.")


def _tell_progress(store: "Store", reviewers: Sequence[str], screen: Console) -> None:
    for name in reviewers:
        _say(screen, f"{name}: {len(store.complete(name))} of {len(store.plan.items)} judged")


def _say(screen: Console, text: str) -> None:
    screen.print(text, markup=False, highlight=False)
