"""``medpref pack`` and ``medpref verify``: a study in one file, and its numbers computed anew from it."""

from pathlib import Path
from typing import Annotated

import typer


def pack(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder that a study was run into.")],
    target: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="STUDY.tar.gz beside the folder by default.")
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help="Also pack the images of the test: patients' data, perhaps.")
    ] = False,
    authors: Annotated[
        list[str] | None,
        typer.Option("--author", help="For the citation file: 'Family, Given', or a group's name."),
    ] = None,
) -> None:
    """Put a finished study into one archive, from which its numbers can be verified. Holds no weights."""
    from medpref.archive import pack as pack_run

    path = pack_run(run, target, images=images, authors=authors or ())
    typer.echo(f"Written: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    if images:
        typer.echo("It holds images of the test: pass it on only as far as the data's terms allow.")
    else:
        typer.echo("It holds no image.", nl=False)
        typer.echo(" Its logs hold every question, reference and answer: mind the data's terms.")


def verify(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="What medpref pack wrote.")],
) -> None:
    """Compute every number of an archive anew, and compare. Exit code 1 where one differs."""
    from medpref.archive import verify as verify_archive

    passed = True
    for check in verify_archive(archive):
        typer.echo(f"{'ok  ' if check.passed else 'FAIL'}  {check.name}: {check.text}")
        for fault in check.faults:
            typer.echo(f"        {fault}")
        passed = passed and check.passed
    if not passed:
        raise typer.Exit(1)
