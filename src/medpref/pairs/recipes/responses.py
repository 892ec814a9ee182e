"""Recipes for rejected responses that need no model."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from medpref.errors import InputError
from medpref.pairs.pair import Pair, ResponseRole
from medpref.pairs.recipes.base import NoSettings, Recipe, RecipeContext, generator, note_recipe
from medpref.registry import Registry

response_recipes: Registry[Recipe[Any]] = Registry("response recipe")

Group = tuple[str | None, bool]
"""Questions with answers of one sort: a kind, and whether the answer is yes or no."""


class TargetedSettings(BaseModel):
    """Which misreadings are made.

    Attributes:
        kinds: the question kinds whose answer is misread; the data source's visual kinds by default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: tuple[str, ...] | None = None


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


def targeted(pairs: Sequence[Pair], settings: TargetedSettings, context: RecipeContext) -> list[Pair]:
    """Reject an answer that misreads the image in one named way: the kind of the question.

    Another answer of the kind is rejected, and the provenance names the kind as the error. Pairs of other
    kinds, and of kinds with one answer only, are left out (targeted strategy, arXiv:2601.17918).

    Raises:
        InputError: neither the settings nor the data source name kinds, or no pair is of one of them.
    """
    kinds = context.visual_kinds if settings.kinds is None else settings.kinds
    if not kinds:
        raise InputError(
            "the data source names no visual question kinds",
            remedy="Name some: {recipe: targeted, kinds: […]}.",
        )
    answers = known_answers(pairs)
    made = []
    for pair in pairs:
        if pair.kind not in kinds:
            context.leave_out(pair, "targeted", f"no error is known for kind {pair.kind or 'unknown'}")
            continue
        wrong = wrong_answers(pair, answers)
        if not wrong:
            context.leave_out(pair, "targeted", f"the data has only one answer to kind {pair.kind}")
            continue
        made.append(_reject_one_of(pair, wrong, "targeted", f"targeted (error: {pair.kind})", context.seed))
    if not made:
        raise InputError(f"no pair can be misread in one of the kinds {', '.join(kinds)}")
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
        answers[_group(pair)].add(pair.responses[ResponseRole.CHOSEN])
    return {group: sorted(known) for group, known in answers.items()}


def wrong_answers(pair: Pair, answers: Mapping[Group, Sequence[str]]) -> list[str]:
    """Return the known answers to such a question that are not the pair's."""
    right = spoken(pair.responses[ResponseRole.CHOSEN])
    return [text for text in answers[_group(pair)] if spoken(text) != right]


def _group(pair: Pair) -> Group:
    # A kind may hold open questions too, and "left lung" is no answer to a question for yes or no.
    return pair.kind, spoken(pair.responses[ResponseRole.CHOSEN]) in ("yes", "no")


def _reject_one_of(pair: Pair, texts: Sequence[str], name: str, note: str, seed: int) -> Pair:
    text = texts[int(generator(seed, name, pair.id).integers(len(texts)))]
    return note_recipe(pair.with_response(ResponseRole.REJECTED, text), note, seed)


def spoken(text: str) -> str:
    """Return a text as it sounds: without case, blanks around it, and a full stop."""
    return text.strip().rstrip(".").casefold()


response_recipes.add(
    "other-answer",
    Recipe("another answer the data gives to a question of that kind", NoSettings, other_answer),
)
response_recipes.add(
    "llm", Recipe("the rejected response that came with the pair, written by an LLM", NoSettings, as_given)
)
response_recipes.add(
    "targeted",
    Recipe("an answer that misreads the image in one named way", TargetedSettings, targeted),
)
