"""``medpref eval``: ask a model a task's questions, or score answers made elsewhere."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from medpref.commands.settings import read_settings
from medpref.errors import InputError

if TYPE_CHECKING:
    from medpref.backbones.base import Backbone
    from medpref.evaluation.asking import ModelAsker
    from medpref.evaluation.evaluation import AskedData
    from medpref.evaluation.tasks import Task
    from medpref.pairs.sample import Sample

Folder = Annotated[Path | None, typer.Option("--out", help="Where to write; evals/TASK by default.")]


def evaluate(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A model's folder; none with --predictions.")
    ] = None,
    task: Annotated[str, typer.Option(help="What is asked: medpref ls tasks.")] = "vqa",
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="A file of questions with answers, the data set's folder, or KEY=VALUE of its source."
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="What reads the data; by default what the task is made for.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Where relative image paths of a file of questions start.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Score these answers instead of asking a model.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the tables call the model.")] = None,
    target: Folder = None,
    control: Annotated[
        str | None, typer.Option(help="Compare all other models in the folder with this one.")
    ] = None,
    condition: Annotated[
        list[str] | None, typer.Option(help="How images are shown, several times: medpref ls conditions.")
    ] = None,
    split: Annotated[str, typer.Option(help="The split that is asked.")] = "test",
    likelihood: Annotated[
        bool, typer.Option(help="Also score closed answers by how likely the model finds them.")
    ] = True,
    judge: Annotated[
        str | None, typer.Option(help="Who labels the facts of reports, such as rules: medpref ls judges.")
    ] = None,
    judge_settings: Annotated[
        list[str] | None, typer.Option("--judge-set", help="A setting of the judge: KEY=VALUE.")
    ] = None,
    facts: Annotated[
        Path | None, typer.Option(help="The references' facts; split off by rules where not given.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A radiology metric of another package, for reports: medpref ls metrics."),
    ] = None,
    metric_python: Annotated[
        str | None, typer.Option(help="The interpreter of the environment that has these packages.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Questions that are answered at a time.", min=1)] = 32,
    limit: Annotated[
        int | None, typer.Option(help="Ask the first rows only, for trying things out.", min=1)
    ] = None,
    questions: Annotated[
        Path | None, typer.Option(help="Write the task's questions here, for another program, and end.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="How MODEL is loaded: KEY=VALUE, as dtype=bfloat16."),
    ] = None,
) -> None:
    """Evaluate a model, or answers made elsewhere, on a task: scores with intervals, next to baselines.

    Models in one folder are compared sample by sample. Started again, it asks only what has no answer.
    """
    from medpref.evaluation.asking import ModelAsker
    from medpref.evaluation.evaluation import against_published, write_baselines, write_results
    from medpref.evaluation.report_metrics import check_metrics
    from medpref.evaluation.tasks import tasks
    from medpref.report import print_table
    from medpref.report.scores import print_scores

    screen, progress = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)
    chosen = tasks[task]
    check_metrics(metric or (), chosen)
    if judge is not None and not chosen.reports:
        raise InputError(f"the answers of {task} are no reports", where="--judge")
    folder = (target or Path("evals") / task).resolve()
    found = _read(chosen, data or [], source, images, split, folder, shown=predictions is None)
    found = _limited(found, limit)
    if questions is not None:
        _write_questions(found, questions, screen)
        return
    if (model is None) == (predictions is None):
        raise InputError("name a model to be asked, or --predictions to be scored")
    label = name or (Path(model).name if model else Path(str(predictions)).stem)
    if predictions is not None:
        _score_given(chosen, found, predictions, label, split, folder, progress)
    else:
        backbone = _load(str(model), batch, read_settings(settings or []))
        asker = ModelAsker(backbone, chosen, label, split, folder, batch, likelihood)
        _ask(asker, found.test, condition or [], progress)
    write_baselines(chosen, found, split, folder)
    if judge is not None:
        _add_facts(folder, label, chosen, judge, read_settings(judge_settings or []), facts)
    _add_metrics(folder, label, chosen, metric or [], metric_python)
    results = write_results(folder, control)
    print_scores(results, screen)
    if control:
        print_table(results, screen)
    for row in results["unscored_metrics"]:
        screen.print(
            f"{row['metric']}: {row['n']:,} of {row['method']} unscored: {row['reason']}", markup=False
        )
    _tell(found, against_published(chosen, found), folder, screen)


def _read(
    task: "Task",
    data: list[str],
    source: str | None,
    images: Path | None,
    split: str,
    folder: Path,
    *,
    shown: bool,
) -> "AskedData":
    """Return the samples: of a file, of a data set's folder, or of a source with its settings."""
    from medpref.evaluation.evaluation import read_file, read_source
    from medpref.pairs.sources import sources

    paths = [Path(item) for item in data if "=" not in item or Path(item).exists()]
    settings = read_settings(item for item in data if Path(item) not in paths)
    if len(paths) > 1:
        raise InputError("name one file or folder", where="--data")
    if paths and paths[0].is_file() and source is None and not settings:
        return read_file(paths[0], images=images, shown=shown)
    if paths and not paths[0].exists():
        raise InputError("there is no such file or folder", where=f"--data {paths[0]}")
    name = source or task.source
    if paths:
        key = "folder" if paths[0].is_dir() else split
        settings = {key: str(paths[0]), **settings}
    if images is not None:
        settings["images"] = str(images)
    fields = sources[name].settings.model_fields
    if "folder" in fields and fields["folder"].is_required() and "folder" not in settings:
        raise InputError(f"{task.name} is read from a folder", remedy="Name it: --data FOLDER.")
    return read_source(task, name, settings, folder / "data", split=split)


def _limited(data: "AskedData", limit: int | None) -> "AskedData":
    from dataclasses import replace

    return data if limit is None else replace(data, test=data.test[:limit])


def _write_questions(data: "AskedData", path: Path, screen: Console) -> None:
    from medpref.files import write_jsonl

    rows = [
        {"id": s.id, "prompt": s.prompt, "images": [str(image) for image in s.images]}
        | ({"history": [list(turn) for turn in s.history]} if s.history else {})
        for s in data.test
    ]
    write_jsonl(path, rows)
    screen.print(f"{len(rows)} questions: {path}", highlight=False)


def _score_given(
    task: "Task", data: "AskedData", path: Path, name: str, split: str, folder: Path, progress: Console
) -> None:
    from medpref.evaluation.evaluation import header, log_known
    from medpref.evaluation.given import read_predictions

    given = read_predictions(path, data.test)
    if given.unknown:
        progress.print(
            f"{len(given.unknown)} answers are to no sample of the task, such as {given.unknown[0]!r}.",
            highlight=False,
        )
    about = header(task, folder, name, "normal", split)
    answers = {
        sample.id: answer
        for sample, answer in zip(data.test, given.answers, strict=True)
        if answer is not None
    }
    log = log_known(task, about, data.test, answers, folder)
    log.write(folder / "logs" / name / f"{task.name}.normal.eval.jsonl")


def _ask(asker: "ModelAsker", samples: Sequence["Sample"], shown: list[str], console: Console) -> None:
    """Ask the model under each condition, with a bar and the rate."""
    from medpref.commands.working import one_bar

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    for condition in dict.fromkeys(["normal", *shown]):
        own = asker.shown(samples, condition)
        if not own:
            say(f"{condition}: applies to no sample")
            continue
        started = time.monotonic()
        with one_bar(console, condition, len(own)) as advance:
            asked = asker.ask(own, condition, advance)
        seconds = max(time.monotonic() - started, 1e-9)
        say(f"{condition}: {len(own):,} samples in {seconds:.1f} s, {len(own) / seconds:.1f} a second")
        if asked.failures:
            first = asked.failures[0]
            say(f"{len(asked.failures)} cannot be asked and are unscored: {first.id}: {first.reason}")


def _load(model: str, batch: int, settings: dict[str, Any]) -> "Backbone":
    from medpref.generation import engines
    from medpref.generation.local import LocalEngine

    engine = engines["local"].make(model, {"batch": batch, **settings})
    assert isinstance(engine, LocalEngine)
    return engine.backbone


def _add_facts(
    folder: Path, name: str, task: "Task", judge: str, settings: dict[str, Any], file: Path | None
) -> None:
    from medpref.evaluation.facts.judges import judges
    from medpref.evaluation.log import read_log
    from medpref.evaluation.report_metrics import Facts, read_given_facts, with_facts

    facts = Facts(judges[judge].make(settings), read_given_facts(file))
    for path in sorted((folder / "logs" / name).glob(f"{task.name}.*.eval.jsonl")):
        replies = path.with_name(path.name.replace(".eval.", f".{judge}-judged."))
        with_facts(read_log(path), facts, replies).write(path)


def _add_metrics(folder: Path, name: str, task: "Task", metrics: list[str], python: str | None) -> None:
    from medpref.evaluation.log import read_log
    from medpref.evaluation.report_metrics import with_metrics

    for path in sorted((folder / "logs" / name).glob(f"{task.name}.*.eval.jsonl")) if metrics else ():
        with_metrics(read_log(path), metrics, cache=folder / "metrics", python=python).write(path)


def _tell(data: "AskedData", published: str | None, folder: Path, screen: Console) -> None:
    from dataclasses import asdict

    from medpref.files import write_jsonl
    from medpref.report.wording import counted

    def say(text: str) -> None:
        screen.print(text, highlight=False, markup=False)

    if published:
        say(published)
    leak = data.facts.get("leakage") or {}
    if leak.get("also_in_train"):
        say(f"{leak['also_in_train']} of the {leak['test_images']} test images also occur in train.")
    if data.quarantined:
        aside = folder / "quarantine.jsonl"
        write_jsonl(aside, [asdict(row) for row in data.quarantined])
        say(f"{counted(len(data.quarantined), 'row')} put aside, with line and reason: {aside}")
    say(f"Results: {folder / 'results.json'}; logs with every answer and score below {folder / 'logs'}")
    say(f"Report:  medpref report {folder}")
