"""Recipes for rejected responses."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medpref.errors import InputError
from medpref.pairs.pair import Pair, ResponseRole
from medpref.pairs.recipes.base import NoSettings, Recipe, generator, note_recipe
from medpref.registry import Registry

response_recipes: Registry[Recipe[Any]] = Registry("response recipe")


def other_answer(pairs: Sequence[Pair], _: NoSettings, seed: int, folder: Path) -> list[Pair]:
    """Reject another answer that the data gives to a question of the same kind.

    Raises:
        InputError: a kind has only one answer in the data, so that no wrong one is known.
    """
    answers: dict[str | None, list[str]] = defaultdict(list)
    for pair in pairs:
        chosen = pair.responses[ResponseRole.CHOSEN]
        if chosen not in answers[pair.kind]:
            answers[pair.kind].append(chosen)
    for known in answers.values():
        known.sort()
    made = []
    for pair in pairs:
        right = spoken(pair.responses[ResponseRole.CHOSEN])
        wrong = [text for text in answers[pair.kind] if spoken(text) != right]
        if not wrong:
            raise InputError(
                f"the data has only one answer to questions of kind {pair.kind!r}",
                where=f"pair {pair.id}",
                remedy="Use another recipe for rejected responses.",
            )
        text = wrong[int(generator(seed, "other-answer", pair.id).integers(len(wrong)))]
        made.append(note_recipe(pair.with_response(ResponseRole.REJECTED, text), "other-answer", seed))
    return made


def spoken(text: str) -> str:
    """Return a text as it sounds: without case, blanks around it, and a full stop."""
    return text.strip().rstrip(".").casefold()


response_recipes.add(
    "other-answer",
    Recipe("another answer the data gives to a question of that kind", NoSettings, other_answer),
)
