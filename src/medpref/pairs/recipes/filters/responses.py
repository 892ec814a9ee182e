"""Filters that compare the two responses of a pair."""

from collections.abc import Sequence

from pydantic import Field, model_validator

from medpref.evaluation.scores.text import normalise
from medpref.pairs.pair import Pair, ResponseRole
from medpref.pairs.recipes.base import NoSettings, Recipe, RecipeContext
from medpref.pairs.recipes.filters.base import FilterSettings, filter_recipes, leave_out_faulty
from medpref.pairs.recipes.responses import spoken


class LengthSettings(FilterSettings):
    """How many times as many words the rejected response may have as the chosen one.

    Attributes:
        least, most: the bounds; a response without words counts as one word.
    """

    least: float = Field(0.2, gt=0)
    most: float = Field(5.0, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> "LengthSettings":
        if self.least > self.most:
            raise ValueError(f"least ({self.least:g}) must not be above most ({self.most:g})")
        return self


def same_answer(one: str, other: str) -> bool:
    """Tell whether two answers are equal up to case, articles, punctuation, Unicode and number words.

    Where nothing but signs is left, such as of ``+`` and ``-``, the signs count.
    """
    plain = normalise(one)
    return plain == normalise(other) if plain else spoken(one) == spoken(other)


def differing(pairs: Sequence[Pair], settings: NoSettings, context: RecipeContext) -> list[Pair]:
    """Leave out pairs whose responses say the same."""

    def fault(pair: Pair) -> str | None:
        said = list(pair.responses.values())
        same = len(said) == len(ResponseRole) and same_answer(*said)
        return "chosen and rejected response sound the same" if same else None

    return leave_out_faulty(pairs, "differing", fault, context)


def length_ratio(pairs: Sequence[Pair], settings: LengthSettings, context: RecipeContext) -> list[Pair]:
    """Leave out pairs whose responses differ much in length: length alone would tell them apart."""

    def fault(pair: Pair) -> str | None:
        words = {role: max(1, len(text.split())) for role, text in pair.responses.items()}
        if len(words) < len(ResponseRole):
            return None
        ratio = words[ResponseRole.REJECTED] / words[ResponseRole.CHOSEN]
        if settings.least <= ratio <= settings.most:
            return None
        size = "long" if ratio > settings.most else "short"
        return f"the rejected response is too {size} ({ratio:.2g} times the words of the chosen one)"

    return leave_out_faulty(pairs, "length-ratio", fault, context)


filter_recipes.add("differing", Recipe("chosen and rejected response differ", NoSettings, differing))
filter_recipes.add(
    "length-ratio", Recipe("the responses have about the same number of words", LengthSettings, length_ratio)
)
