"""``medpref generate``: a model's answers to the questions of a file, written as they come."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from medpref.commands.settings import read_settings
from medpref.errors import InputError, RunError

if TYPE_CHECKING:
    from medpref.backbones.sampling import Sampling
    from medpref.generation.questions import QuestionFile
    from medpref.generation.run import Outcome


def generate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model's folder, or the address of an endpoint, such as http://127.0.0.1:8000/v1.",
        ),
    ],
    questions: Annotated[
        Path, typer.Argument(help="A pair file, a task's samples, or rows with prompt and images.")
    ],
    target: Annotated[Path, typer.Option("--out", help="The JSONL file that the answers go to.")],
    engine: Annotated[
        str | None, typer.Option(help="local, openai or vllm; by default what MODEL looks like.")
    ] = None,
    preset: Annotated[str, typer.Option(help="How answers are drawn: greedy or study.")] = "greedy",
    temperature: Annotated[float | None, typer.Option(help="0 takes the likeliest token each time.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest tokens with this probability.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from this many likeliest tokens; 0: all.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="The longest answer, in tokens.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the draws.")] = None,
    batch: Annotated[int | None, typer.Option(help="Questions that are answered at a time.")] = None,
    name: Annotated[str | None, typer.Option("--model", help="The model's name at the endpoint.")] = None,
    allow_images: Annotated[
        bool, typer.Option("--allow-images", help="Let images leave this process for the endpoint.")
    ] = False,
    images: Annotated[
        Path | None, typer.Option(help="Where relative image paths start; by default the file's folder.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A further setting of the engine: KEY=VALUE, such as dtype=bfloat16."),
    ] = None,
) -> None:
    """Answer a file's questions. Started again, it asks only those that have no answer yet.

    Exit code 1 where some questions have no answer.
    """
    from medpref.generation import engines
    from medpref.generation.questions import read_questions

    drawn = {
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "max_new_tokens": max_new_tokens,
        "seed": seed,
    }
    sampling = _sampling(preset, drawn)
    file = read_questions(questions, images=images)
    kind = engine or ("openai" if model.startswith(("http://", "https://")) else "local")
    given = {"batch": batch, "model": name, "allow_images": allow_images or None}
    chosen = {key: value for key, value in given.items() if value is not None}
    made = engines[kind].make(model, {**chosen, **read_settings(settings or [])})
    console = Console(stderr=True, soft_wrap=True)
    try:
        outcome = _ask(made, file, target, sampling, console)
    except KeyboardInterrupt:
        remedy = "The answers so far are kept: the same command goes on from here."
        raise RunError("interrupted", remedy=remedy) from None
    _report(outcome, file, target, console)
    if outcome.failures or file.quarantined:
        raise typer.Exit(1)


def _sampling(preset: str, changes: Mapping[str, Any]) -> "Sampling":
    from pydantic import ValidationError

    from medpref.backbones.sampling import Sampling, sampling_presets

    given = {key: value for key, value in changes.items() if value is not None}
    try:
        return Sampling.model_validate({**sampling_presets[preset].model_dump(), **given})
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise InputError(first["msg"], where=option) from None


def _ask(
    engine: Any, file: "QuestionFile", target: Path, sampling: "Sampling", console: Console
) -> "Outcome":
    """Ask all questions, with a bar; no other process may write to the same file meanwhile."""
    from medpref.commands.working import one_bar, only_writer
    from medpref.generation.run import generate_answers

    with only_writer(target, "answers"), one_bar(console, "answers", len(file.questions)) as advance:
        return generate_answers(engine, file.questions, target, sampling, advance=advance)


def _report(outcome: "Outcome", file: "QuestionFile", target: Path, console: Console) -> None:
    """Say how many questions have an answer, and name those that have none."""
    from medpref.generation.run import failed_path

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    say(f"{len(outcome.answers)} of {len(file.questions)} questions are answered: {target}")
    cut = sum(answer.finish == "length" for answer in outcome.answers.values())
    if cut:
        say(f"{cut} answers were cut off at their longest.")
    if outcome.failures:
        first = outcome.failures[0]
        say(f"{len(outcome.failures)} failed, the next run asks them again: {failed_path(target)}")
        say(f"  {first.id}: {first.reason}")
    for row in file.quarantined:
        name = f", id {row.id}" if row.id else ""
        say(f"line {row.line}{name} cannot be asked: {row.reason}")
