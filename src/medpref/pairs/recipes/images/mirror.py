"""The mirror image, for pairs whose chosen response it makes false: answers that name one side."""

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from medpref.pairs.pair import IMAGE_PLACEHOLDER, Pair, ResponseRole
from medpref.pairs.recipes.base import RecipeContext
from medpref.pairs.recipes.images.corruption import ImageSettings
from medpref.pairs.recipes.images.drawing import draw_pairs, require_image
from medpref.pairs.recipes.responses import spoken

Side = Literal["left", "right"]

NAME = "mirror"
# Lobes and quadrants are often written short: RUL, LLQ.
SIDES: dict[Side, re.Pattern[str]] = {
    "left": re.compile(r"\b(left(ward|wards|sided?)?|lt|l[ul]l|l[ul]q)\b", re.IGNORECASE),
    "right": re.compile(r"\b(right(ward|wards|sided?)?|rt|r[uml]l|r[ul]q)\b", re.IGNORECASE),
}
BOTH = re.compile(r"\b(bilateral(ly)?|both|either|each)\b", re.IGNORECASE)
NEGATION = re.compile(r"\b(no|not|none|neither|nor|without|absent|absence|isn't|aren't)\b", re.IGNORECASE)
OPENING = re.compile(r"^\s*(yes|no)\b[\s,.;:]*", re.IGNORECASE)


class MirrorSettings(ImageSettings):
    """Which pairs are mirrored.

    Attributes:
        kinds: the question kinds that ask for a place, in any case.
        closed: also take a yes to a question that names one side. It stays true where both sides are
            affected, which the data does not tell.
    """

    kinds: tuple[str, ...] = Field(("position", "pos", "side", "location", "laterality"), min_length=1)
    closed: bool = False


def sides_in(text: str) -> set[Side]:
    """Return the sides that a text names; both for words such as bilateral."""
    if BOTH.search(text):
        return {"left", "right"}
    return {side for side, words in SIDES.items() if words.search(text)}


def why_not(pair: Pair, settings: MirrorSettings) -> str | None:
    """Return why a pair's chosen response may still be true of the mirror image, or None where it is false.

    It is false where it names one side and denies nothing: what lies on one side of the image lies on the
    other side of its mirror image.
    """
    if (pair.kind or "").casefold() not in {kind.casefold() for kind in settings.kinds}:
        return f"kind {pair.kind or 'unknown'} does not ask for a side"
    chosen = pair.responses[ResponseRole.CHOSEN]
    said = OPENING.sub("", chosen)
    named = sides_in(said)
    if len(named) == 2:
        return "the chosen response names both sides"
    if named:
        denied = NEGATION.search(said)
        return "the chosen response denies something: whether it stays true is not known" if denied else None
    return _why_not_closed(pair, spoken(chosen), settings)


def _why_not_closed(pair: Pair, answer: str, settings: MirrorSettings) -> str | None:
    """Return why an answer that names no side may still be true of the mirror image."""
    asked = sides_in(pair.prompt.replace(IMAGE_PLACEHOLDER, " "))
    if answer not in ("yes", "no") or len(asked) != 1:
        return "no single side is asked for or answered: the chosen response stays true"
    if answer == "no":
        return "the answer is no: whether it stays true is not known"
    return None if settings.closed else "the answer is yes: it stays true where both sides are affected"


def mirror(pairs: Sequence[Pair], settings: MirrorSettings, context: RecipeContext) -> list[Pair]:
    """Exchange left and right of the images of pairs whose chosen response that makes false.

    All other pairs are left out with the reason.
    """
    false = []
    for pair in pairs:
        require_image(pair, NAME)
        reason = why_not(pair, settings)
        if reason:
            context.leave_out(pair, NAME, reason)
        else:
            false.append(pair)
    context.advance(len(pairs) - len(false))
    return draw_pairs(false, NAME, settings, context)
