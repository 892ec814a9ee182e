"""The data card: a README with what Hugging Face's hub reads, and with what people have to know."""

from collections.abc import Mapping
from typing import Any

import yaml

from medpref import __version__
from medpref.pairs.export.base import ExportFormat
from medpref.pairs.export.licences import Licence
from medpref.pairs.summary import PairSummary

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)


def data_card(summary: PairSummary, licence: Licence, chosen: ExportFormat, *, name: str) -> str:
    """Return the card in Markdown with a YAML front matter.

    Args:
        summary: what the pairs consist of.
        licence: the strictest of their licences.
        chosen: the format that they are written in.
        name: what the set is called.
    """
    front = yaml.safe_dump(_front(summary, licence, chosen, name), sort_keys=False, allow_unicode=True)
    sections = [
        f"# {_plain(name)}",
        f"{summary.pairs:,} preference pairs on {summary.images:,} images, "
        f"written by medpref {__version__}. {_sharing(licence)}",
        "## Reading",
        chosen.usage,
        "## What is in it",
        _table("part", {"pairs": summary.pairs, **summary.parts}),
        *_counted("Sources", "source", summary.sources),
        *_counted("Licences, as given", "licence", summary.licences),
        *_counted("Question kinds", "kind", summary.kinds),
        *_counted("Recipes", "recipe", summary.recipes),
        *_counted("Errors of the rejected responses", "error", summary.errors),
        "Seeds: " + (", ".join(map(str, summary.seeds)) or "none"),
        "## Leak",
        _leak(summary),
        "## Left out",
        _left_out(summary),
    ]
    return f"---\n{front}---\n\n" + "\n\n".join(sections) + "\n"


def _front(summary: PairSummary, licence: Licence, chosen: ExportFormat, name: str) -> dict[str, Any]:
    visual = "images" in summary.parts
    front: dict[str, Any] = {
        "license": licence.identifier,
        "pretty_name": name,
        "task_categories": ["visual-question-answering" if visual else "question-answering"],
        "tags": ["medical", "preference", "dpo", *(["image"] if visual else []), "medpref"],
        "size_categories": [next((text for most, text in _SIZES if summary.pairs < most), "n>10M")],
    }
    return {**front, "configs": [chosen.config]} if chosen.config else front


def _sharing(licence: Licence) -> str:
    if licence.shareable:
        return f"The strictest of its licences is {licence.name}, and holds for the whole."
    return (
        f"**Not for redistribution:** the strictest of its licences is “{licence.name}”. It was exported by "
        "someone who said that they may share it."
    )


def _counted(title: str, noun: str, counts: Mapping[str, int]) -> list[str]:
    return [f"### {title}", _table(noun, counts)] if counts else []


def _table(noun: str, counts: Mapping[str, int]) -> str:
    rows = [f"| {_plain(name)} | {count:,} |" for name, count in counts.items()]
    return "\n".join([f"| {noun} | pairs |", "|---|---:|", *rows])


def _leak(summary: PairSummary) -> str:
    leak = summary.leak
    if leak is None:
        return f"Not measured: {summary.no_leak}."
    words = ", ".join(f"{_plain(trait.trait)} ({trait.side})" for trait in leak.telling[:8])
    return (
        f"A bag of words that sees neither image nor question tells chosen from rejected with an AUC of "
        f"**{leak.auc:.3f}** (95 % interval {leak.low:.3f} to {leak.high:.3f}; .5 is chance; "
        f"{leak.pairs:,} pairs, {leak.groups:,} images). Most telling: {words or 'nothing'}."
    )


def _left_out(summary: PairSummary) -> str:
    if not summary.left_out:
        return "No record of pairs that were left out lies beside the pairs."
    rows = [
        f"| {_plain(name)} | {_plain(reason)} | {count:,} |"
        for (name, reason), count in summary.left_out.items()
    ]
    return "\n".join(["| recipe or filter | reason | pairs |", "|---|---|---:|", *rows])


def _plain(text: str) -> str:
    """Return a text as one line that Markdown shows as it is."""
    line = " ".join(text.split())
    escaped = "".join(f"\\{sign}" if sign in "\\`*_[]|~#$" else sign for sign in line)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
