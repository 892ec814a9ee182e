"""``medpref doctor``: a look at the machine, a model and a study before hours are spent."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from medpref.commands.settings import read_settings

STYLES = {"ok": "green", "note": "yellow", "fail": "bold red"}


def doctor(
    study: Annotated[
        str | None, typer.Argument(help="A bundled study's name, or the path of a YAML file.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Check the model in this folder.")] = None,
    template: Annotated[str | None, typer.Option(help="The chat template of --model.")] = None,
    out: Annotated[Path, typer.Option(help="Where the study would be written.")] = Path("runs"),
    load: Annotated[
        bool, typer.Option("--load/--no-load", help="Load the study's models and compute with them.")
    ] = True,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Replace a setting of the study: KEY=VALUE.")
    ] = None,
) -> None:
    """Check this machine, and a study or a model on it. Exit code 1 where something will not work."""
    from medpref.backbones import load_backbone
    from medpref.doctor import machine
    from medpref.doctor.check import run_checks
    from medpref.doctor.study import check_on_device, check_study
    from medpref.study.load import find_study, load_study

    screen = Console(soft_wrap=True)
    failed = 0
    checks = [
        ("versions", machine.versions),
        ("optional", machine.optional_packages),
        ("torchvision", machine.broken_torchvision),
        ("device", machine.devices),
        ("disk", lambda: machine.disk(out)),
    ]
    if model is not None:
        checks.append(("model", lambda: check_on_device(load_backbone(model, template=template))))
    if study is not None:
        said = read_settings(settings or [])
        checks.append(("study", lambda: check_study(load_study(find_study(study), said), models=load)))
    for finding in run_checks(checks):
        failed += finding.status == "fail"
        status = (f"{finding.status:<4}", STYLES[finding.status])
        line = Text.assemble(status, f"  {finding.name}: {finding.told}")
        if finding.remedy:
            line.append(f"\n      {finding.remedy}")
        screen.print(line)
    if failed:
        screen.print(f"\n{failed} of these will not work.")
        raise typer.Exit(1)
