"""The recipe `shuffled`: the answer to another sample's same question, the baseline that looks at nothing."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from medpref.errors import InputError
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Pair, ResponseRole
from medpref.pairs.recipes.base import Recipe, RecipeContext, generator, note_recipe
from medpref.pairs.recipes.responses import response_recipes

WORD = re.compile(r"[^\W_]+")


class ShuffledSettings(BaseModel):
    """Where the answer comes from if no other sample has the same question with another answer.

    Attributes:
        fallback: a sample of the same question ``kind``, ``any`` sample, or ``none``: the pair is left out.
            Yes and no stand for yes-and-no questions alone in both cases.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fallback: Literal["kind", "any", "none"] = "kind"


Key = Callable[[Pair], object]


def same_question(pair: Pair) -> object:
    """Return a pair's question without case, punctuation and images, with what was said before."""
    texts = (*(text for turn in pair.history for text in turn), pair.prompt)
    return tuple(_words(text.replace(IMAGE_PLACEHOLDER, " ")) for text in texts)


def same_kind(pair: Pair) -> object:
    """Return a pair's question kind, and whether it is answered by yes or no."""
    return pair.kind, is_polar(pair)


def is_polar(pair: Pair) -> bool:
    """Tell whether a pair's question is answered by yes or no."""
    return _words(pair.responses[ResponseRole.CHOSEN]) in (("yes",), ("no",))


FALLBACKS: Mapping[str, tuple[tuple[str, Key], ...]] = {
    "kind": (("same kind", same_kind),),
    "any": (("same kind", same_kind), ("any question", is_polar)),
    "none": (),
}


def shuffled(pairs: Sequence[Pair], settings: ShuffledSettings, context: RecipeContext) -> list[Pair]:
    """Reject the chosen response of another sample with the same question; a fallback is told in provenance.

    Samples are drawn, not answers: a common answer is a common rejected response. Answers that are the
    pair's own up to case and punctuation, and samples on the same images, are not drawn.

    Raises:
        InputError: no pair has another answer to take.
    """
    ways = [("", same_question), *FALLBACKS[settings.fallback]]
    groups = [(note, key, _group(pairs, key)) for note, key in ways]
    made = []
    for pair in pairs:
        for note, key, group in groups:
            drawn = _draw(pair, group[key(pair)], generator(context.seed, "shuffled", pair.id))
            if drawn is not None:
                rejected = pair.with_response(ResponseRole.REJECTED, drawn.responses[ResponseRole.CHOSEN])
                name = f"shuffled (fallback: {note})" if note else "shuffled"
                made.append(note_recipe(rejected, name, context.seed))
                break
        else:
            context.leave_out(pair, "shuffled", "no other sample has such a question with another answer")
    if pairs and not made:
        raise InputError(
            "no sample has another answer to the same question",
            remedy="Allow a fallback, or use another recipe for rejected responses.",
        )
    return made


def _group(pairs: Sequence[Pair], key: Key) -> Mapping[object, Sequence[Pair]]:
    groups: dict[object, list[Pair]] = defaultdict(list)
    for pair in sorted(pairs, key=lambda each: each.id):
        groups[key(pair)].append(pair)
    return groups


def _draw(pair: Pair, others: Sequence[Pair], rng: np.random.Generator) -> Pair | None:
    """Return one of the samples that have another answer, each as likely as the next."""
    order = (others[int(place)] for place in rng.permutation(len(others)))
    return next((other for other in order if _differs(pair, other)), None)


def _differs(pair: Pair, other: Pair) -> bool:
    if pair.image_key and pair.image_key == other.image_key:
        return False
    return _words(pair.responses[ResponseRole.CHOSEN]) != _words(other.responses[ResponseRole.CHOSEN])


def _words(text: str) -> tuple[str, ...]:
    return tuple(WORD.findall(text.casefold()))


response_recipes.add(
    "shuffled",
    Recipe("another sample's answer to the same question", ShuffledSettings, shuffled),
)
