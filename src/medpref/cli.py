"""The command line: run a study, report on it, list what there is, check files."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from medpref import __version__
from medpref.commands.build import build
from medpref.commands.compare import compare
from medpref.commands.convert import convert
from medpref.commands.doctor import doctor
from medpref.commands.eval import evaluate
from medpref.commands.export import export
from medpref.commands.facts import facts
from medpref.commands.generate import generate
from medpref.commands.images import images
from medpref.commands.kinds import kinds
from medpref.commands.merge import merge
from medpref.commands.pack import pack, verify
from medpref.commands.review import review
from medpref.commands.settings import read_settings
from medpref.errors import InputError, MedprefError, RunError, did_you_mean

app = typer.Typer(
    name="medpref",
    help="Preference optimization for medical vision-language models, measured honestly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"medpref {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    # Nothing is fetched behind the user's back: models are folders that the user names.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


@app.command()
def run(
    study: Annotated[str, typer.Argument(help="A bundled study's name, or the path of a YAML file.")],
    folder: Annotated[
        Path | None, typer.Option("--out", help="Where to write; runs/STUDY by default.")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            envvar="MEDPREF_CACHE",
            help="Keep finished stages, reference log-probs and image features here, for other runs.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Replace a setting of the study: KEY=VALUE, such as data.folder=/data/vqa_rad."
        ),
    ] = None,
    on: Annotated[
        str | None, typer.Option(help="What works on the stages: local, slurm or ray, as executor.on says.")
    ] = None,
) -> None:
    """Run a study to its report. Started again, it redoes only what is not finished."""
    from medpref.report import print_table, write_report
    from medpref.study.load import find_study, load_study
    from medpref.study.run import put_aside, run_study

    said = read_settings([*([f"executor.on={on}"] if on else []), *(settings or [])])
    spec = load_study(find_study(study), said)
    target = folder or spec.folder or Path("runs") / spec.study
    try:
        results = run_study(spec, target, err, cache)
    except KeyboardInterrupt:
        remedy = "Finished work is kept: the same command goes on from here."
        raise RunError("interrupted", remedy=remedy) from None
    page = write_report(target)
    print_table(results, out)
    aside = put_aside(target)
    if aside:
        err.print(aside, markup=False, highlight=False)
    out.print(f"\nResults: {target / 'results.json'}\nReport:  {page}", highlight=False)


@app.command()
def plan(
    study: Annotated[str, typer.Argument(help="A bundled study's name, or the path of a YAML file.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Replace a setting of the study: KEY=VALUE.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write the plan to this file.")
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(metavar="NAME", help="Tell the hours of this GPU, such as A100 or H100.")
    ] = None,
    utilisation: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="The share of the GPU's peak that is reached.")
    ] = 0.35,
) -> None:
    """Say what a study would cost, and what it lacks: tokens, memory, disk, FLOPs, GPU hours, judges, files.

    Trains nothing and needs no weights. Exit code 2 where data or models are missing, so that costs cannot be
    told.
    """
    from medpref.files import write_json
    from medpref.study.dry.missing import missing
    from medpref.study.dry.table import print_missing, print_plan
    from medpref.study.load import find_study, load_study
    from medpref.study.plan import plan_study

    spec = load_study(find_study(study), read_settings(settings or []))
    lacking = missing(spec)
    print_missing(lacking, out)
    if any(thing.vital for thing in lacking):
        raise InputError(
            "costs can be told once data and models are there",
            where=study,
            remedy="Put them there, or name other places: in the study, or with --set KEY=VALUE.",
        )
    found = plan_study(spec)
    if json_file:
        write_json(json_file, found.to_json())
    print_plan(found, out, gpu, utilisation)


@app.command()
def report(
    folder: Annotated[
        Path,
        typer.Argument(metavar="RUN_DIR|PAIRS", help="The folder that a study was run into, or a pair file."),
    ],
    figures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Also write the figures of why methods did what they did, as SVG."
        ),
    ] = None,
    images: Annotated[
        str, typer.Option(help="The gallery's images: embed (in the page), beside (as files), or none.")
    ] = "embed",
) -> None:
    """Write report.html and tables/ anew from a run's logs, and print its table; of pairs, PAIRS.html."""
    from medpref.files import read_json
    from medpref.report import Images, print_table, write_figures, write_report

    if folder.is_file():
        from medpref.report.pairs import write_pair_page

        out.print(f"Page: {write_pair_page(folder)}", highlight=False)
        return
    try:
        place = Images(images)
    except ValueError:
        known = [each.value for each in Images]
        raise InputError(f"images cannot be {images!r}", remedy=did_you_mean(images, known)) from None
    page = write_report(folder, place)
    print_table(read_json(folder / "results.json"), out)
    out.print(f"\nReport: {page}\nTables: {folder / 'tables'}", highlight=False)
    if figures is not None:
        out.print(f"Figures: {len(write_figures(folder, figures))} in {figures}", highlight=False)


@app.command("ls")
def list_things(
    what: Annotated[
        str | None,
        typer.Argument(
            help="studies, methods, objectives, tasks, backbones, families, engines, recipes or sources."
        ),
    ] = None,
) -> None:
    """List what there is, such as studies, methods, tasks, model families and data sources."""
    from medpref.listing import LISTINGS

    if what is not None and what not in LISTINGS:
        raise InputError(f"there is no list called {what!r}", remedy=did_you_mean(what, LISTINGS))
    for name in [what] if what else list(LISTINGS):
        if what is None:
            out.print(f"[bold]{name}[/bold]")
        rows = LISTINGS[name]()
        width = max((len(row[0]) for row in rows), default=0)
        for key, text in rows:
            out.print(f"  {key:<{width}}  {text}", markup=False, highlight=False)


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Study files (.yaml) or pair files.")],
    quarantine: Annotated[Path | None, typer.Option(help="Write the rows that fail to this file.")] = None,
) -> None:
    """Check studies and pair files. Exit code 1 for a wrong row, 2 for a file that cannot be used."""
    from medpref.listing import check_file

    results = [check_file(path) for path in files]
    for result in results:
        out.print(result.text, markup=False, highlight=False)
    if quarantine:
        from medpref.files import write_jsonl

        write_jsonl(quarantine, [row for result in results for row in result.rows])
    code = max(result.code for result in results)
    if code:
        raise typer.Exit(code)


app.command()(build)
app.command()(convert)
app.command()(merge)
app.add_typer(images, name="images")
app.add_typer(facts, name="facts")
app.command("eval")(evaluate)
app.command()(doctor)
app.command()(generate)
app.command()(export)
app.command()(kinds)
app.command()(review)
app.command()(compare)
app.command()(pack)
app.command()(verify)


def main() -> None:
    """Run the command line and turn errors into one clear message and an exit code.

    0: done. 1: the run failed or was interrupted, or a checked row is wrong. 2: the input cannot be used.
    """
    try:
        app(standalone_mode=True)
    except MedprefError as error:
        err.print("[bold red]error[/bold red]: ", end="")
        err.print(str(error), markup=False, highlight=False)
        raise SystemExit(error.exit_code) from None
