"""``medpref merge``: a model with the update of LoRA adapters in its weights, as a plain folder."""

from pathlib import Path
from typing import Annotated

import typer

from medpref.errors import InputError


def merge(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The folder that the adapters belong to.")],
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="A folder in peft's layout.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The folder to write; it must not exist.")],
    template: Annotated[
        str | None, typer.Option(help="The chat template's name, where the model's folder names none.")
    ] = None,
) -> None:
    """Merge LoRA adapters into a model and write a plain folder that loads without them."""
    from medpref.backbones import load_backbone

    if target.exists():
        raise InputError("this folder is there already", where=str(target))
    load_backbone(model, adapter=adapter, template=template).save(target)
    typer.echo(f"Written: {target}")
