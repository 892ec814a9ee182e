"""``medpref export``: pairs as a folder in another format, with a data card."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def export(
    pairs: Annotated[Path, typer.Argument(metavar="PAIRS", help="A pair file of any shape.")],
    folder: Annotated[Path, typer.Argument(metavar="DST", help="The folder to write; it must not exist.")],
    name: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="trl, llava, datasets or medpref.")
    ] = "medpref",
    images: Annotated[
        Path | None, typer.Option(help="Where relative image paths start; by default the file's folder.")
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="Link images instead of copying them.")] = False,
    may_share: Annotated[
        bool,
        typer.Option("--i-may-share", help="Export pairs though no licence says that they may be passed on."),
    ] = False,
) -> None:
    """Write pairs with their images and a data card to a folder that can be passed on.

    Exit code 1 where some rows could not be used: each is named with the reason.
    """
    from medpref.pairs.export import export_formats, export_pairs
    from medpref.pairs.store import read_pairs
    from medpref.pairs.summary import read_left_out

    chosen = export_formats[name]
    file = read_pairs(pairs, images=images)
    left_out = read_left_out(pairs)
    done = export_pairs(file.pairs, folder, name, left_out=left_out, link=link, may_share=may_share)
    console = Console(soft_wrap=True)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    for row in file.quarantined:
        say(f"  line {row.line}" + (f", id {row.id}" if row.id else "") + f": {row.reason}")
    say(f"{len(file.pairs):,} pairs ({chosen.summary}), strictest licence {done.licence.name}: {done.file}")
    leak = done.summary.leak
    if leak:
        say(f"Leak AUC {leak.auc:.3f} [{leak.low:.3f}, {leak.high:.3f}]; .5 is chance.")
    if file.quarantined:
        say(f"{len(file.quarantined)} rows were not used.")
        raise typer.Exit(1)
