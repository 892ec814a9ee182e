"""The filter for questions that the data answers in two ways."""

from collections import defaultdict
from collections.abc import Sequence

from pydantic import Field

from medpref.errors import InputError
from medpref.evaluation.scores.polarity import Polarity, polarity
from medpref.evaluation.scores.text import normalise, tokens
from medpref.pairs.duplicates import content_key
from medpref.pairs.pair import IMAGE_PLACEHOLDER, ImageRole, Pair, ResponseRole
from medpref.pairs.recipes.base import Recipe, RecipeContext
from medpref.pairs.recipes.filters.base import FilterSettings, filter_recipes, leave_out_faulty
from medpref.pairs.recipes.filters.responses import same_answer

_DENIALS = frozenset({"no", "not", "none", "without", "never", "cannot"})
_ANSWERS = (Polarity.YES, Polarity.NO)

Key = tuple[str, str, tuple[tuple[str, str], ...]]
"""Images by content, the question as it sounds, and what was said before."""


class ContradictionSettings(FilterSettings):
    """Which answers can contradict each other.

    Attributes:
        longest: chosen answers of more words may tell the same otherwise; of those only a plain yes and no
            contradict.
    """

    longest: int = Field(8, ge=1)


def contradictions(
    pairs: Sequence[Pair], settings: ContradictionSettings, context: RecipeContext
) -> list[Pair]:
    """Leave out pairs on the same image and question that contradict each other, all of them.

    They do where their chosen answers do, or where the chosen answer of one is the rejected one of another:
    which of them is right is not known. Images are the same by the bytes of their files.

    Raises:
        InputError: an image cannot be read.
    """
    asked: dict[Key, list[Pair]] = defaultdict(list)
    for pair in pairs:
        asked[_key(pair)].append(pair)
    reasons: dict[str, str] = {}
    for group in asked.values():
        group.sort(key=lambda pair: pair.id)
        for pair in group if len(group) > 1 else ():
            reason = next(
                (text for o in group if o is not pair and (text := _conflict(pair, o, settings))), None
            )
            if reason:
                reasons[pair.id] = reason
    return leave_out_faulty(pairs, "contradictions", lambda pair: reasons.get(pair.id), context)


def _key(pair: Pair) -> Key:
    try:
        images = content_key(pair.images.get(ImageRole.CLEAN, ()))
    except OSError as error:
        raise InputError(f"an image cannot be read: {error.filename}", where=f"pair {pair.id}") from None
    question = pair.prompt.replace(IMAGE_PLACEHOLDER, " ")
    # A question of signs alone would otherwise be every such question.
    return images, normalise(question) or question, tuple(pair.history)


def _conflict(pair: Pair, other: Pair, settings: ContradictionSettings) -> str | None:
    """Return how two pairs on one question contradict each other, or None."""
    chosen, others = pair.responses.get(ResponseRole.CHOSEN), other.responses.get(ResponseRole.CHOSEN)
    for here, there, said in (
        (chosen, other.responses.get(ResponseRole.REJECTED), "chosen here is rejected"),
        (pair.responses.get(ResponseRole.REJECTED), others, "rejected here is chosen"),
    ):
        if here is not None and there is not None and same_answer(here, there):
            return f"what is {said} for the same question on the same image (pair {other.id})"
    if chosen is not None and others is not None and contradict(chosen, others, settings.longest):
        return f"the same question on the same image has another chosen answer (pair {other.id})"
    return None


def contradict(one: str, other: str, longest: int) -> bool:
    """Tell whether two right answers to one question cannot both be right.

    Yes and no contradict at any length. Otherwise short answers do where they differ in more than detail:
    "left lung" and "the lung" may both be right, "enlarged" and "not enlarged" may not.
    """
    said = (polarity(one), polarity(other))
    if all(answer in _ANSWERS for answer in said):
        return said[0] is not said[1]
    words = [set(tokens(text)) for text in (one, other)]
    if max(len(one.split()), len(other.split())) > longest or same_answer(one, other):
        return False
    more = words[0] ^ words[1]
    nested = words[0] <= words[1] or words[1] <= words[0]
    return not nested or bool(more & _DENIALS)


filter_recipes.add(
    "contradictions",
    Recipe("no other pair contradicts the answer", ContradictionSettings, contradictions),
)
