"""``medpref facts``: atomic facts, a judge for each, and what replies make of comp and hall."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medpref.errors import InputError, RunError

if TYPE_CHECKING:
    from medpref.evaluation.facts.judges import Item, Judge
    from medpref.evaluation.facts.judging import Judged
    from medpref.evaluation.facts.label_files import Agreement

SHOWN = 5
"""How many samples are named on the screen."""

facts = typer.Typer(help="Atomic facts and a judge: comp, hall, precision and F1.", no_args_is_help=True)

FactsOption = Annotated[
    Path, typer.Option("--facts", help="Rows with id and atomic_facts: a JSON array, JSON Lines, or by id.")
]


@facts.command()
def score(
    facts_file: FactsOption,
    replies: Annotated[Path, typer.Option(help="The judge's replies: rows of a batch's output.")],
    target: Annotated[Path, typer.Option("--out", help="The JSON file that the scores go to.")],
    responses: Annotated[
        Path | None, typer.Option(help="The responses that were judged: rows with id and response.")
    ] = None,
    reverse_facts: Annotated[
        Path | None, typer.Option(help="The facts of the responses, for precision and F1.")
    ] = None,
    reverse_replies: Annotated[
        Path | None, typer.Option(help="The judge's replies about these, held against the gold texts.")
    ] = None,
    legacy: Annotated[
        bool, typer.Option("--legacy", help="Reproduce the study's released script, faults included.")
    ] = False,
) -> None:
    """Score replies that exist: comp, hall, n, unscored, with 95 % intervals. Unscored is never a zero."""
    from medpref.evaluation.facts.batch_rows import read_replies
    from medpref.evaluation.facts.document import build_document, summary_lines
    from medpref.evaluation.facts.files import read_facts, read_texts
    from medpref.evaluation.facts.legacy import score_legacy
    from medpref.evaluation.facts.scores import score_replies, with_precision
    from medpref.files import write_json

    if (reverse_facts is None) != (reverse_replies is None):
        raise InputError("--reverse-facts and --reverse-replies belong together")
    if legacy and reverse_facts is not None:
        raise InputError("the released script has no reverse direction", where="--legacy")
    scores = (score_legacy if legacy else score_replies)(read_facts(facts_file), read_replies(replies))
    if reverse_facts is not None and reverse_replies is not None:
        backward = score_replies(read_facts(reverse_facts), read_replies(reverse_replies))
        scores = with_precision(scores, backward)
    texts = None if responses is None else read_texts(responses, strict=False)
    document = build_document(scores, legacy=legacy, responses=texts)
    write_json(target, document)
    for line in summary_lines(document):
        typer.echo(line)


@facts.command()
def agreement(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="LABELS…", help="Replies, scored files, or labels of people (JSON or CSV)."),
    ],
    facts_file: Annotated[
        Path | None, typer.Option("--facts", help="The facts, where custom_ids are no plain ids.")
    ] = None,
    target: Annotated[
        Path | None, typer.Option("--out", help="Also write the figures here, as JSON.")
    ] = None,
) -> None:
    """Say how far files of labels agree: Cohen's κ of each two, Krippendorff's α of all."""
    from medpref.evaluation.facts.files import read_facts
    from medpref.evaluation.facts.label_files import agreement as compare
    from medpref.evaluation.facts.label_files import read_label_file
    from medpref.files import write_json

    if len(files) < 2:
        raise InputError("agreement needs two files of labels, or more")
    names = [path.name for path in files]
    if len(set(names)) < len(names):
        names = [str(path) for path in files]
    if len(set(names)) < len(names):
        raise InputError("the same file is named twice", where=str(files[0]))
    rows = None if facts_file is None else read_facts(facts_file)
    found = compare({n: read_label_file(path, rows) for n, path in zip(names, files, strict=True)})
    if target:
        write_json(target, found.to_json())
    _print_agreement(found)


def _print_agreement(found: "Agreement") -> None:
    typer.echo(f"n: {found.n} facts of {found.samples} samples; all files label {found.n_all} of them")
    if found.left_out:
        typer.echo(
            f"left out: {found.left_out} samples (labelled by one file, or with other numbers of labels)"
        )
    for (first, second), kappa in found.kappa.items():
        typer.echo(f"kappa {first} – {second}: {_figure(kappa)}")
    typer.echo(f"alpha: {_figure(found.alpha)}")
    for name, counts in found.counts.items():
        typer.echo(f"{name}: " + ", ".join(f"{label} {count}" for label, count in counts.items()))


def _figure(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"


ModelOption = Annotated[
    str | None, typer.Option(help="A model's folder (nli, local), or its name at the endpoint (openai).")
]
EndpointOption = Annotated[
    str | None, typer.Option(help="The endpoint's address, such as http://127.0.0.1:8000/v1.")
]
BatchOption = Annotated[
    Path | None, typer.Option("--batch-file", help="Write requests here instead of sending them.")
]
ResultsOption = Annotated[
    list[Path] | None, typer.Option("--results-file", help="What came back of a batch; may be repeated.")
]
SettingsOption = Annotated[
    list[str] | None, typer.Option("--set", help="A further setting: KEY=VALUE, such as batch=8.")
]


@facts.command()
def judge(
    facts_file: FactsOption,
    target: Annotated[Path, typer.Option("--out", help="The JSONL file that the replies go to.")],
    responses: Annotated[
        Path | None, typer.Option(help="Rows with id and response, the text that facts are held against.")
    ] = None,
    gold: Annotated[
        Path | None, typer.Option(help="With --reverse: rows with id and the reference text.")
    ] = None,
    reverse: Annotated[
        bool,
        typer.Option("--reverse", help="The facts are those of the responses; hold them against --gold."),
    ] = False,
    name: Annotated[str, typer.Option("--judge", help="rules, nli, local or openai.")] = "rules",
    model: ModelOption = None,
    endpoint: EndpointOption = None,
    batch_file: BatchOption = None,
    results_files: ResultsOption = None,
    settings: SettingsOption = None,
) -> None:
    """Let a judge label each fact. Started again, it asks only what has no readable labels yet.

    Exit code 1 where some samples have no labels.
    """
    from medpref.evaluation.facts.files import read_facts, read_texts
    from medpref.evaluation.facts.judges import judges
    from medpref.evaluation.facts.judging import make_items

    texts_file = gold if reverse else responses
    if texts_file is None:
        raise InputError(
            "the text that facts are held against is missing", where="--gold" if reverse else "--responses"
        )
    if not reverse and gold is not None:
        raise InputError(
            "reference texts are for the reverse direction", where="--gold", remedy="Say --reverse."
        )
    given = _given(model, endpoint, batch_file, results_files, settings)
    items, left_out = make_items(read_facts(facts_file), read_texts(texts_file, gold=reverse))
    if not items:
        raise InputError(
            "no sample has both facts and a text: the ids have to be equal", where=str(facts_file)
        )
    made = judges[name].make(given)
    _tell_judged(_run_judge(made, items, target), made, len(items), left_out, target)


@facts.command()
def extract(
    texts_file: Annotated[Path, typer.Option("--texts", help="Rows with id and the text that is split.")],
    target: Annotated[Path, typer.Option("--out", help="The JSON file that the facts go to.")],
    name: Annotated[str, typer.Option("--by", help="rules or openai.")] = "rules",
    responses: Annotated[
        bool, typer.Option("--responses", help="The texts are a model's responses, not references.")
    ] = False,
    model: ModelOption = None,
    endpoint: EndpointOption = None,
    batch_file: BatchOption = None,
    results_files: ResultsOption = None,
    settings: SettingsOption = None,
) -> None:
    """Split texts into atomic facts. Exit code 1 where some texts have none."""
    from medpref.evaluation.facts.extract import extract_all
    from medpref.evaluation.facts.files import read_texts
    from medpref.files import write_json

    texts = read_texts(texts_file, gold=not responses)
    made = extract_all(name, texts, _given(model, endpoint, batch_file, results_files, settings))
    write_json(target, [one.to_row(texts[one.id]) for one in made])
    without = [one for one in made if not one.facts]
    typer.echo(f"{sum(len(one.facts) for one in made)} facts of {len(made)} texts: {target}")
    for one in without[:SHOWN]:
        typer.echo(f"  {one.id} has none: {one.reason}", err=True)
    if without:
        typer.echo(f"{len(without)} texts have no facts.", err=True)
        raise typer.Exit(1)


def _given(
    model: str | None,
    endpoint: str | None,
    batch_file: Path | None,
    results_files: list[Path] | None,
    settings: list[str] | None,
) -> dict[str, Any]:
    """Return the settings that options and ``--set`` give."""
    from medpref.commands.settings import read_settings

    given = {
        "model": model,
        "endpoint": endpoint,
        "batch_file": batch_file,
        "results_files": results_files or None,
    }
    return {**{k: v for k, v in given.items() if v is not None}, **read_settings(settings or [])}


def _run_judge(made: "Judge", items: "Sequence[Item]", target: Path) -> "Judged":
    """Judge all items, with a bar; no other process may write to the same file meanwhile."""
    from rich.console import Console

    from medpref.commands.working import one_bar, only_writer
    from medpref.evaluation.facts.judging import judge_items

    console = Console(stderr=True, soft_wrap=True)
    try:
        with only_writer(target, "replies"), one_bar(console, "judge", len(items)) as advance:
            return judge_items(made, items, target, advance=advance)
    except KeyboardInterrupt:
        remedy = "The replies so far are kept: the same command goes on from here."
        raise RunError("interrupted", remedy=remedy) from None


def _tell_judged(judged: "Judged", made: "Judge", count: int, left_out: dict[str, str], target: Path) -> None:
    typer.echo(f"{judged.readable} of {count} samples have labels ({judged.kept} from before): {target}")
    if told := made.told():
        typer.echo(", ".join(f"{key} {value}" for key, value in told.items()))
    for what, reasons in (("has no labels", judged.reasons), ("was not judged", left_out)):
        for ident, reason in list(reasons.items())[:SHOWN]:
            typer.echo(f"  {ident} {what}: {reason}", err=True)
    if left_out:
        typer.echo(f"{len(left_out)} samples were not judged.", err=True)
    if judged.reasons:
        typer.echo(f"{len(judged.reasons)} have no readable labels; the next run asks again.", err=True)
        raise typer.Exit(1)
