"""Recipes for rejected responses that need no model."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medpref.errors import InputError
from medpref.pairs.edits.editing import spoken as spoken
from medpref.pairs.pair import Pair, ResponseRole
from medpref.pairs.recipes.base import NoSettings, Recipe, RecipeContext, generator, note_recipe
from medpref.registry import Registry

response_recipes: Registry[Recipe[Any]] = Registry("response recipe")

Group = tuple[str | None, bool]
"""Questions with answers of one sort: a kind, and whether the answer is yes or no."""


def other_answer(pairs: Sequence[Pair], settings: NoSettings, context: RecipeContext) -> list[Pair]:
    """Reject another answer that the data gives to a question of the same kind.

    Raises:
        InputError: a kind has only one answer in the data, so that no wrong one is known.
    """
    answers = known_answers(pairs)
    made = []
    for pair in pairs:
        wrong = wrong_answers(pair, answers)
        if not wrong:
            raise InputError(
                f"the data has only one answer to questions of kind {pair.kind!r}",
                where=f"pair {pair.id}",
                remedy="Use another recipe for rejected responses.",
            )
        made.append(_reject_one_of(pair, wrong, "other-answer", "other-answer", context.seed))
    return made


def as_given(pairs: Sequence[Pair], settings: NoSettings, context: RecipeContext) -> list[Pair]:
    """Use the rejected response that came with the pair, written by a language model.

    Raises:
        InputError: a pair came without one.
    """
    for pair in pairs:
        if ResponseRole.REJECTED not in pair.responses:
            raise InputError(
                "the pair came without a rejected response",
                where=f"pair {pair.id}",
                remedy="Use data whose pairs have one, or another recipe: other-answer, self or self-noised.",
            )
    return [note_recipe(pair, "llm", context.seed) for pair in pairs]


def known_answers(pairs: Iterable[Pair]) -> Mapping[Group, Sequence[str]]:
    """Return the answers that the data gives to each sort of question, sorted."""
    answers: dict[Group, set[str]] = defaultdict(set)
    for pair in pairs:
        answers[group_of(pair)].add(pair.responses[ResponseRole.CHOSEN])
    return {group: sorted(known) for group, known in answers.items()}


def wrong_answers(pair: Pair, answers: Mapping[Group, Sequence[str]]) -> list[str]:
    """Return the known answers to such a question that are not the pair's."""
    right = spoken(pair.responses[ResponseRole.CHOSEN])
    return [text for text in answers[group_of(pair)] if spoken(text) != right]


def group_of(pair: Pair) -> Group:
    """Return the sort of the pair's question."""
    # A kind may hold open questions too, and "left lung" is no answer to a question for yes or no.
    return pair.kind, spoken(pair.responses[ResponseRole.CHOSEN]) in ("yes", "no")


def _reject_one_of(pair: Pair, texts: Sequence[str], name: str, note: str, seed: int) -> Pair:
    text = texts[int(generator(seed, name, pair.id).integers(len(texts)))]
    return note_recipe(pair.with_response(ResponseRole.REJECTED, text), note, seed)


response_recipes.add(
    "other-answer",
    Recipe("another answer the data gives to a question of that kind", NoSettings, other_answer),
)
response_recipes.add(
    "llm", Recipe("the rejected response that came with the pair, written by an LLM", NoSettings, as_given)
)
