"""The mirror image, and the other side as the right answer: who answers by habit answers as before.

Everything in the image is mirrored: letters and side markers too, and anatomy that is not symmetric. A model
that goes by a marker rather than by the picture is told from one that does not only where there is none.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from medpref.evaluation.conditions.base import Condition, ConditionContext, conditions
from medpref.evaluation.conditions.drawn import draw_files, drawing_of
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Pair, ResponseRole
from medpref.pairs.recipes.images import ImageSettings, MirrorSettings
from medpref.pairs.recipes.images.mirror import NAME as MIRROR
from medpref.pairs.recipes.images.mirror import SIDES, sides_in, why_not
from medpref.pairs.sample import Sample

SETTINGS = MirrorSettings()
PLACES = frozenset(kind.casefold() for kind in SETTINGS.kinds)
# Named by a side, or found on one side alone: after mirroring the name stays, or there is no counterpart.
ONE_SIDED = re.compile(
    r"\b(ventric\w*|atri\w*|middle lobe|rml|lingula\w*|flexure|colon\w*|colic|main ?stem|bronch\w*"
    r"|(lobe of (the )?liver|hepatic lobe|liver lobe)|heart|cardiac|coronary|aort\w*|hemicolectomy"
    r"|handed\w*|shift\w*)\b",
    re.IGNORECASE,
)
_WORD = re.compile("|".join(f"(?:{words.pattern})" for words in SIDES.values()), re.IGNORECASE)
_LETTERS = str.maketrans("lrLR", "rlRL")


def exchange_sides(text: str) -> str:
    """Return `text` with left and right exchanged, in words and in short forms such as RUL, LLQ and Lt."""
    return _WORD.sub(lambda match: _other(match.group()), text)


def _other(word: str) -> str:
    for side, opposite in (("left", "right"), ("right", "left")):
        if word.lower().startswith(side):
            return _like(word, opposite) + word[len(side) :]
    # A short form begins with the side's letter: RUL, llq, Lt.
    return word[0].translate(_LETTERS) + word[1:]


def _like(word: str, other: str) -> str:
    return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other


def mirrored_gold(sample: Sample) -> str | None:
    """Return the answer that is right of the mirror image, or None where that is not sure.

    It is sure where the question asks for a place, the answer names one side and denies nothing, and neither
    question nor answer speaks of what has only one side. A question that names one side itself is left out:
    it would ask for something else in the mirror image.
    """
    kind = next((kind for kind in sample.kinds if kind.casefold() in PLACES), None)
    pair = Pair(sample.id, sample.prompt, responses={ResponseRole.CHOSEN: sample.gold}, kind=kind)
    if not sides_in(sample.gold) or why_not(pair, SETTINGS) is not None:
        return None
    asked = " ".join((*(text for turn in sample.history for text in turn), sample.prompt))
    asked = asked.replace(IMAGE_PLACEHOLDER, " ")
    if len(sides_in(asked)) == 1 or ONE_SIDED.search(f"{asked} {sample.gold}"):
        return None
    gold = exchange_sides(sample.gold)
    return gold if not sample.choices or gold in sample.choices else None


def mirrored(samples: Sequence[Sample], context: ConditionContext) -> list[Sample]:
    """Show mirror images to those questions whose answer they exchange; the region is mirrored with them.

    An image that is its own mirror image is left out.
    """
    golds = {sample.id: mirrored_gold(sample) for sample in samples if sample.images}
    asked = [sample for sample in samples if golds.get(sample.id) is not None]
    settings = ImageSettings()
    parts = {
        sample.id: [
            drawing_of(sample, path, MIRROR, settings, context)
            for path in (*sample.images, *((sample.region,) if sample.region else ()))
        ]
        for sample in asked
    }
    drawn = draw_files([drawing for drawings in parts.values() for drawing in drawings], context)
    shown = []
    for sample in asked:
        images = parts[sample.id][: len(sample.images)]
        if any(drawn[drawing.target].reason for drawing in images):
            continue
        region = sample.region
        if region is not None and drawn[parts[sample.id][-1].target].reason is None:
            region = parts[sample.id][-1].target
        gold = golds[sample.id] or ""
        files = tuple(drawing.target for drawing in images)
        shown.append(replace(sample, images=files, gold=gold, region=region))
    return shown


conditions.add("mirror", Condition("the mirror image, where that exchanges the side that is right", mirrored))
