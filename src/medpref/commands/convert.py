"""``medpref convert``: original LLaVA-Med and HuatuoGPT-Vision checkpoints to plain folders, and back."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from medpref.errors import InputError

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)


def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="The checkpoint's folder.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Where to; a new or empty folder.")],
    to_original: Annotated[
        bool, typer.Option("--to-original", help="From a Hugging Face folder back to the authors' layout.")
    ] = False,
    vision_tower: Annotated[
        str,
        typer.Option(
            metavar="embedded|PATH",
            help="The tower inside the checkpoint, or that of a CLIP folder.",
        ),
    ] = "embedded",
    like: Annotated[
        Path | None,
        typer.Option(help="With --to-original: copy tokenizer and other small files from this checkpoint."),
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="The chat template; by default that of the model type.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the new name of every tensor and write nothing.")
    ] = False,
) -> None:
    """Convert LLaVA-Med v1.5 or HuatuoGPT-Vision to a plain Hugging Face folder, or back. Resumable."""
    from medpref.backbones.loading import LoadSettings
    from medpref.conversion import convert_checkpoint, restore_original

    def say(line: str) -> None:
        err.print(line, markup=False, highlight=False)

    if to_original:
        if vision_tower != "embedded" or template:
            raise InputError("--vision-tower and --template do not go together with --to-original")
        done = restore_original(source, target, like, dry_run=dry_run, say=say)
    else:
        if like:
            raise InputError("--like goes together with --to-original only")
        settings = LoadSettings(vision_tower=vision_tower, template=template)
        done = convert_checkpoint(source, target, settings, dry_run=dry_run, say=say)
    if dry_run:
        for tensor in done.placed:
            shape = " × ".join(map(str, tensor.shape))
            out.print(
                f"{tensor.source} → {tensor.name}  {tensor.dtype} {shape}", markup=False, highlight=False
            )
        out.print(f"\n{len(done.placed)} tensors, none left over.", highlight=False)
    else:
        out.print(f"{target}: {len(done.placed)} tensors", markup=False, highlight=False)
