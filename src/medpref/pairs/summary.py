"""What a set of pairs consists of, in numbers: for its data card and its page."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medpref.errors import InputError
from medpref.files import read_jsonl
from medpref.pairs.leaks import Leak, measure_leak
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.recipes.base import LeftOut

LEFT_OUT = "left-out.jsonl"
"""The file beside a pair file that tells which pairs recipes left out."""

NONE = "not given"

_ERROR = re.compile(r"\(error: [^;()]*(?:; )?")


@dataclass(frozen=True, slots=True)
class PairSummary:
    """Counts of a set of pairs; each table has the most frequent first.

    Attributes:
        pairs: how many there are.
        parts: how many have each part: both responses, rejected images, weights, regions, earlier turns.
        kinds, sources, recipes, licences, errors: pairs by question kind, source, recipe (`recipe_name`),
            licence, and by each error that their rejected response is known to have.
        images: distinct clean image files.
        seeds: the seeds of the recipes.
        left_out: pairs that recipes and filters left out, by (recipe, reason without details).
        leak: how well words alone tell the sides, None where that could not be measured.
        no_leak: why not.
    """

    pairs: int
    parts: dict[str, int]
    kinds: dict[str, int]
    sources: dict[str, int]
    recipes: dict[str, int]
    licences: dict[str, int]
    errors: dict[str, int]
    images: int
    seeds: tuple[int, ...]
    left_out: dict[tuple[str, str], int]
    leak: Leak | None
    no_leak: str | None


def summarise(pairs: Sequence[Pair], left_out: Iterable[LeftOut] = (), *, seed: int = 0) -> PairSummary:
    """Count what pairs consist of, and measure their leak."""
    leak, no_leak = _leak(pairs, seed)
    removed = Counter((one.recipe, one.reason.split(" (")[0].split(":")[0]) for one in left_out)
    return PairSummary(
        pairs=len(pairs),
        parts={name: count for name, count in _parts(pairs).items() if count},
        kinds=_counted(pair.kind for pair in pairs),
        sources=_counted(pair.provenance.source for pair in pairs),
        recipes=_counted(map(recipe_name, pairs)),
        licences=_counted(pair.provenance.licence for pair in pairs),
        errors=_counted(error for pair in pairs for error in error_names(pair)),
        images=len({path for pair in pairs for path in pair.images.get(ImageRole.CLEAN, ())}),
        seeds=tuple(sorted({p.provenance.seed for p in pairs if p.provenance.seed is not None})),
        left_out=dict(sorted(removed.items(), key=lambda item: (-item[1], item[0]))),
        leak=leak,
        no_leak=no_leak,
    )


def recipe_name(pair: Pair) -> str | None:
    """Return a pair's recipes without the error that they made in it, which its changes tell."""
    recipe = pair.provenance.recipe
    return recipe and _ERROR.sub("(", recipe).replace(" ()", "")


def error_names(pair: Pair) -> list[str]:
    """Return the errors that a pair's rejected response is known to have, each once."""
    return sorted({change.error for change in pair.changes})


def _leak(pairs: Sequence[Pair], seed: int) -> tuple[Leak | None, str | None]:
    try:
        return measure_leak(pairs, seed=seed), None
    except InputError as error:
        return None, error.what


def _counted(values: Iterable[str | None]) -> dict[str, int]:
    counts = Counter(NONE if value is None else value for value in values)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _parts(pairs: Sequence[Pair]) -> dict[str, int]:
    return {
        "two responses": sum(len(pair.responses) == len(ResponseRole) for pair in pairs),
        "images": sum(ImageRole.CLEAN in pair.images for pair in pairs),
        "rejected images": sum(ImageRole.REJECTED in pair.images for pair in pairs),
        "weights": sum(pair.weight is not None for pair in pairs),
        "regions of interest": sum(pair.region is not None for pair in pairs),
        "earlier turns": sum(bool(pair.history) for pair in pairs),
        "known errors": sum(bool(pair.changes) for pair in pairs),
    }


def read_left_out(pairs: Path) -> list[LeftOut]:
    """Read ``left-out.jsonl`` beside a pair file; empty where there is none.

    Raises:
        InputError: a line is no such entry.
    """
    path = pairs.with_name(LEFT_OUT)
    if not path.is_file():
        return []
    found = []
    for line, row in read_jsonl(path):
        try:
            found.append(LeftOut(str(row["id"]), str(row["recipe"]), str(row["reason"])))
        except (KeyError, TypeError):
            raise InputError(
                "this tells of no pair that was left out", where=f"{path}, line {line}"
            ) from None
    return found
