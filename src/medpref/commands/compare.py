"""``medpref compare``: several finished studies on one page."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN…", help="Folders of studies; the others are compared with the first."),
    ],
    page: Annotated[Path, typer.Option("--out", metavar="FILE", help="The page to write.")] = Path(
        "compare.html"
    ),
) -> None:
    """Compare the same methods across studies, paired sample by sample where both asked the same."""
    from medpref.report.compare import print_comparison, read_studies, write_comparison

    studies = read_studies(runs)
    differences = write_comparison(studies, page)
    print_comparison(studies, differences, Console(soft_wrap=True))
    typer.echo(f"\nPage: {page}")
