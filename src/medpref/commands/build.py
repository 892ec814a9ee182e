"""``medpref build``: a pair file from a source, step by step."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from medpref.commands.settings import read_settings
from medpref.errors import InputError, did_you_mean


def build(
    config: Annotated[
        str | None,
        typer.Argument(metavar="[STUDY|CONFIG]", help="A study or a build: a bundled name, or a file."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write; pairs/NAME by default.")] = None,
    method: Annotated[str | None, typer.Option(help="Of a study: only this method's pairs.")] = None,
    from_review: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Take the pairs from what experts said of a run's answers."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Replace a setting: KEY=VALUE, such as seed=1.")
    ] = None,
) -> None:
    """Build preference pairs: source, rejected sides, weights, filters. Redoes only what has changed."""
    from medpref.study.build import BuildSpec, build_pairs
    from medpref.study.load import find_build, load_spec, read_mapping

    if config is None and from_review is None:
        raise InputError("name a study or a build", remedy="medpref ls builds lists those that come along.")
    path, said = find_build(config or "reviewed"), read_settings(settings or [])
    screen, progress = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)
    if from_review is not None:
        said = {"data": {"source": "review", "run": str(from_review)}, **said}
    if "build" not in read_mapping(path):
        if from_review is not None:
            raise InputError(
                "a study has data of its own", where="--from-review", remedy="Name a build, or nothing."
            )
        _build_study(path, said, out, method, screen, progress)
        return
    if method is not None:
        raise InputError("only a study has methods", where="--method")
    spec = load_spec(path, BuildSpec, said)
    target = out or Path("pairs") / spec.build
    _tell(build_pairs(spec, target, progress), target, screen)
    if from_review is not None:
        _tell_notes(target, screen)


def _build_study(
    path: Path, said: dict[str, Any], out: Path | None, method: str | None, screen: Console, progress: Console
) -> None:
    from medpref.study.build import build_pairs, builds_of
    from medpref.study.load import load_study

    study = load_study(path, said)
    if method is not None and method not in study.methods:
        raise InputError(f"the study has no method {method!r}", remedy=did_you_mean(method, study.methods))
    for name, spec in builds_of(study):
        if method not in (None, name.partition(".")[0]):
            continue
        if spec is None:
            screen.print(
                f"{name}: its pairs ask the SFT model; a run of the study makes them", highlight=False
            )
            continue
        target = (out or Path("pairs") / study.study) / name
        _tell(build_pairs(spec, target, progress), target, screen)


def _tell(about: dict[str, Any], target: Path, screen: Console) -> None:
    steps = ", ".join(f"{name.partition('-')[2]} {count}" for name, count in about["pairs"].items())
    screen.print(f"{target / 'pairs.jsonl'}: {steps}", highlight=False)
    for reason, count in about["left_out"].items():
        screen.print(f"  {count} left out: {reason}", highlight=False, markup=False)
    for reason, count in about["quarantined"].items():
        screen.print(f"  {count} rows put aside: {reason}", highlight=False, markup=False)
    screen.print(f"Look at them: medpref report {target / 'pairs.jsonl'}", highlight=False, markup=False)


def _tell_notes(target: Path, screen: Console) -> None:
    """Say what the source says of its data, such as that it must not be measured on."""
    from medpref.files import read_json
    from medpref.study.stage import stage_folder

    for note in read_json(stage_folder(target, "data") / "data.json").get("notes", ()):
        screen.print(f"Note: {note}", highlight=False, markup=False)
