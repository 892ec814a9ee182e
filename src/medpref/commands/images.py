"""``medpref images``: make single images of what holds several."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from medpref.errors import InputError

images = typer.Typer(help="Image files: films, stacks and volumes.", no_args_is_help=True)


@images.callback()
def _root() -> None:
    """Keep ``export`` a command of its own, though it is the only one."""


@images.command()
def export(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A file, or a folder of files.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the PNG files go.")],
    axis: Annotated[str, typer.Option(help="Cut volumes so: axial, coronal or sagittal.")] = "axial",
    every: Annotated[int, typer.Option(help="Take every N-th frame or slice.", metavar="N")] = 1,
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Show volumes with this window, such as 40 400.", metavar="CENTRE WIDTH"),
    ] = None,
) -> None:
    """Write every frame of films and every slice of volumes to a PNG file of its own.

    Exit code 1 where a file could not be read: each is named with the reason.
    """
    from medpref.pairs.images.export import ExportSettings, export_images

    chosen: dict[str, Any] = {"axis": axis, "every": every, "window": window}
    try:
        settings = ExportSettings.model_validate(chosen)
    except ValidationError as error:
        faults = "; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors())
        raise InputError(faults, where="images export") from None
    found = export_images(source, folder, settings)
    console = Console()
    for left in found.left_out:
        console.print(f"  {left.source}: {left.reason}", markup=False, highlight=False)
    console.print(found.summary(), markup=False, highlight=False)
    if found.left_out:
        raise typer.Exit(1)
