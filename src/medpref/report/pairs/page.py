"""The page about a pair file: one HTML file that needs nothing but itself."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment
from markupsafe import Markup

from medpref import __version__
from medpref.files import write_text
from medpref.pairs.export.licences import pair_licence, strictest
from medpref.pairs.pair import Pair
from medpref.pairs.store import PairFile, read_pairs
from medpref.pairs.summary import NONE, PairSummary, error_names, read_left_out, recipe_name, summarise
from medpref.report.pairs.figures import leak_figure, length_figure
from medpref.report.pairs.gallery import EXAMPLES, Example, make_examples
from medpref.report.templating import make_environment
from medpref.report.wording import counted, number, percent

_TOLD_APART = 0.6
_MOST_ROWS = 40


class Caution(NamedTuple):
    """Something to know before training: a title and a sentence."""

    title: str
    text: str


class CountTable(NamedTuple):
    """Pairs by one trait: (name, count, share of the largest count), and how many names are not listed."""

    title: str
    noun: str
    rows: Sequence[tuple[str, int, float]]
    further: int


def write_pair_page(pairs: Path, *, examples: int = EXAMPLES, seed: int = 0) -> Path:
    """Write a page about a pair file beside it, under its name with ``.html``, whole or not at all.

    Args:
        pairs: the pair file, of any shape that `medpref.pairs.formats` reads.
        examples: how many pairs are shown at most.
        seed: of the examples, and of the folds and resamples of the leak.

    Returns:
        The page's path.

    Raises:
        InputError: the pair file, or ``left-out.jsonl`` beside it, cannot be read.
        RunError: the page cannot be written.
    """
    page = pairs.with_suffix(".html")
    write_text(page, render(read_pairs(pairs), examples=examples, seed=seed))
    return page


def render(file: PairFile, *, examples: int = EXAMPLES, seed: int = 0) -> str:
    """Return the page of a pair file that was read."""
    html = _environment().get_template("pairs.html.j2").render(**_content(file, examples, seed))
    # A kind or a recipe may hold half of a surrogate pair, which UTF-8 cannot.
    return html.encode("utf-8", "replace").decode("utf-8")


def _content(file: PairFile, most: int, seed: int) -> dict[str, Any]:
    summary = summarise(file.pairs, read_left_out(file.path), seed=seed)
    examples = make_examples(file.pairs, most=most, seed=seed)
    script = _asset("medpref.report", "report.js")
    groups = _groups(examples)
    return {
        # Most pair files have one name: their folder's tells which they are.
        "title": f"{file.path.resolve().parent.name}/{file.path.name}",
        "summary": summary,
        "cautions": cautions(file, summary),
        "tables": _tables(summary),
        "lengths": length_figure(file.pairs),
        "leak_drawing": leak_figure(summary.leak) if summary.leak else None,
        "examples": [(example, _short_names(example.pair, groups)) for example in examples],
        "kinds": sorted({example.pair.kind or NONE for example in examples}),
        "groups": groups,
        "version": __version__,
        "style": Markup(_asset("medpref.report", "report.css") + _asset("medpref.report.pairs", "pairs.css")),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def cautions(file: PairFile, summary: PairSummary) -> list[Caution]:
    """Return what should be known before anything is trained on the pairs."""
    found = []
    if summary.leak and summary.leak.low > _TOLD_APART:
        text = (
            f"A bag of words tells the sides apart in {percent(summary.leak.auc)} % of all couples "
            "without the image and the question. A model can lower its preference loss by style alone, "
            "and its reward accuracy then says little."
        )
        found.append(Caution("Told apart by style", text))
    licence = strictest(pair_licence(pair) for pair in file.pairs)
    if file.pairs and not licence.shareable:
        text = f"The strictest licence is “{licence.name}”. The images on this page fall under it as well."
        found.append(Caution("Do not pass on", text))
    if file.quarantined:
        text = f"{counted(len(file.quarantined), 'row')} could not be used: run medpref validate on the file."
        found.append(Caution("Rows put aside", text))
    return found


def _tables(summary: PairSummary) -> list[CountTable]:
    named: list[tuple[str, str, Mapping[str, int]]] = [
        ("Question kinds", "Kind", summary.kinds),
        ("Errors of the rejected responses", "Error", summary.errors),
        ("Recipes", "Recipe", summary.recipes),
        ("Sources", "Source", summary.sources),
        ("Licences", "Licence", summary.licences),
        ("Parts", "Part", summary.parts),
    ]
    return [_table(title, noun, counts) for title, noun, counts in named if counts]


def _table(title: str, noun: str, counts: Mapping[str, int]) -> CountTable:
    most = max(counts.values())
    rows = [(name, count, count / most) for name, count in counts.items()]
    return CountTable(title, noun, rows[:_MOST_ROWS], max(0, len(rows) - _MOST_ROWS))


class Group(NamedTuple):
    """Examples that the page can show alone: a name, and a short one without the blanks of recipes."""

    name: str
    short: str


def _groups(examples: Sequence[Example]) -> dict[str, list[Group]]:
    """Return the recipes and the errors among the examples, by a title for each sort."""
    return {
        title: [Group(name, f"{title}-{place}") for place, name in enumerate(sorted(found))]
        for title, names in _GROUPINGS.items()
        if (found := {name for example in examples for name in names(example.pair)})
    }


_GROUPINGS: Mapping[str, Callable[[Pair], Sequence[str]]] = {
    "recipe": lambda pair: [recipe_name(pair) or NONE],
    "error": error_names,
}


def _short_names(pair: Pair, groups: Mapping[str, Sequence[Group]]) -> str:
    """Return the short names of a pair's groups, with blanks between them, as the page's script cuts them."""
    said = {(title, name) for title, names in _GROUPINGS.items() for name in names(pair)}
    return " ".join(
        group.short for title, several in groups.items() for group in several if (title, group.name) in said
    )


@cache
def _environment() -> Environment:
    filters: dict[str, Callable[..., str]] = {"number": number, "percent": percent, "counted": counted}
    return make_environment("medpref.report.pairs", filters)


def _asset(package: str, name: str) -> str:
    return files(package).joinpath("templates", name).read_text(encoding="utf-8")
