"""``medpref kinds``: what each question of a file asks for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from medpref.pairs.kinds.rows import Labelled, Tell

SHOWN = 5
"""How many of the rows that were put aside are named on the screen."""


def kinds(
    file: Annotated[Path, typer.Argument(help="Questions: JSONL, a JSON array, CSV or TSV.")],
    target: Annotated[
        Path, typer.Option("--out", help="Where to; .json, .csv and .tsv by its name, else JSONL.")
    ],
    field: Annotated[str, typer.Option(help="The field that holds the question.")] = "question",
    answer: Annotated[
        str | None,
        typer.Option(help="The field that holds the answer: it helps where the question says little."),
    ] = None,
    lists: Annotated[
        Path | None, typer.Option(help="Your own word lists and patterns (YAML), behind the bundled ones.")
    ] = None,
    learn: Annotated[
        Path | None,
        typer.Option(help="Learn from this file instead: rows with the question and its `kinds`."),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Put before the names of the new fields.")] = "",
) -> None:
    """Add the kinds of every question, the most certain first, and the words that speak for them.

    Rows without a question are put aside in OUT.quarantine.jsonl; the exit code then is 1.
    """
    from medpref.pairs.kinds.rows import label, read_rows, write_quarantine, write_rows

    tell = _classifier(lists, learn, field)
    found = label(read_rows(file), tell, field=field, answer=answer, prefix=prefix)
    write_rows(target, found.rows, prefix)
    _print_table(found)
    typer.echo(f"{len(found.rows)} questions: {target}")
    if not found.quarantined:
        return
    aside = target.with_name(f"{target.name}.quarantine.jsonl")
    write_quarantine(aside, found.quarantined)
    typer.echo(f"{len(found.quarantined)} rows put aside: {aside}", err=True)
    for row in found.quarantined[:SHOWN]:
        name = f", id {row.id}" if row.id else ""
        typer.echo(f"  line {row.line}{name}: {row.reason}", err=True)
    raise typer.Exit(1)


def _classifier(lists: Path | None, learn: Path | None, field: str) -> "Tell":
    from medpref.pairs.kinds import classifier

    by_lists = classifier(lists)
    if learn is None:
        return by_lists
    from medpref.pairs.kinds.learned import LearnedClassifier
    from medpref.pairs.kinds.rows import read_examples

    return LearnedClassifier(read_examples(learn, field=field), by_lists)


def _print_table(found: "Labelled") -> None:
    """Print how many questions each kind has, as the surest and at all."""
    from medpref.pairs.kinds import KINDS

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="underline")
    for name in ("kind", "first", "share", "any"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    first, mentioned = found.counts, found.mentions
    for name in KINDS:
        share = f"{100 * first[name] / max(1, len(found.rows)):.1f} %"
        table.add_row(name, str(first[name]), share, str(mentioned[name]))
    Console().print(table, highlight=False)
