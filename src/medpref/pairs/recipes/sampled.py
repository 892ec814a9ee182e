"""Recipes for rejected responses that the model itself gives: what it says where it is wrong."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medpref.errors import InputError
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.recipes.base import Recipe, RecipeContext, note_recipe, seed_of
from medpref.pairs.recipes.images import image_recipes
from medpref.pairs.recipes.responses import response_recipes


class SampledSettings(BaseModel):
    """How the model is asked.

    Attributes:
        temperature: of the samples; 0 takes the likeliest token each time.
        samples: the most answers that are drawn for a pair; the first wrong one is rejected.
        max_new_tokens: the longest answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(1.0, ge=0)
    samples: int = Field(4, ge=1)
    max_new_tokens: int = Field(64, ge=1)

    @model_validator(mode="after")
    def _differing(self) -> "SampledSettings":
        if self.temperature == 0 and self.samples > 1:
            raise ValueError("at temperature 0 all samples are the same: set samples to 1")
        return self


class NoisedSettings(SampledSettings):
    """The same, for a model that looks at the image after `step` of 1,000 steps of diffusion noise."""

    step: int = Field(500, ge=1, le=1000)


class ErasedAnswerSettings(SampledSettings):
    """The same, for a model that looks at the image without its lesion.

    Attributes:
        samples: with one at temperature 1, a pair is kept with the probability that the model does not find
            the right answer without the lesion.
        image: the image recipe that takes the lesion away.
        settings: of that recipe.
    """

    samples: int = Field(1, ge=1)
    image: str = "erased"
    settings: dict[str, Any] = {}

    @model_validator(mode="after")
    def _sound_recipe(self) -> "ErasedAnswerSettings":
        try:
            image_recipes[self.image].settings.model_validate(self.settings)
        except InputError as error:
            raise ValueError(str(error)) from None
        return self


def from_self(pairs: Sequence[Pair], settings: SampledSettings, context: RecipeContext) -> list[Pair]:
    """Reject what the model says where it is wrong. Raises `InputError` where it is never wrong."""
    wrong = sample_wrong(pairs, ImageRole.CLEAN, settings, context)
    return _with_rejected(pairs, wrong, "self", context)


def from_self_noised(pairs: Sequence[Pair], settings: NoisedSettings, context: RecipeContext) -> list[Pair]:
    """Reject what the model says, where it is wrong, of the noised image.

    The pair's own images stay as they are.

    Raises:
        InputError: the model is never wrong, or a pair has no image.
    """
    wrong = _sample_changed(pairs, "noise", {"step": settings.step}, settings, context)
    return _with_rejected(pairs, wrong, "self-noised", context)


def from_self_erased(
    pairs: Sequence[Pair], settings: ErasedAnswerSettings, context: RecipeContext
) -> list[Pair]:
    """Reject what the model says, where it is wrong, of the image without the lesion.

    That is what it would say whatever the lesion looks like. The pair's own images stay as they are. Pairs
    whose image shows no lesion, or that the model gets right without it, are left out.

    Raises:
        InputError: the model is never wrong, a pair has no image, or the image recipe fails.
    """
    wrong = _sample_changed(pairs, settings.image, settings.settings, settings, context)
    gone = {left.id for left in context.left_out}
    return _with_rejected([pair for pair in pairs if pair.id not in gone], wrong, "self-erased", context)


def _sample_changed(
    pairs: Sequence[Pair],
    name: str,
    said: dict[str, Any],
    settings: SampledSettings,
    context: RecipeContext,
) -> dict[str, str]:
    """Return the first wrong answer to each pair's image as the image recipe `name` changes it, by id."""
    # A pair is done when it is answered, not when its image is changed.
    changed = image_recipes[name].run(pairs, said, replace(context, advance=lambda _: None))
    context.advance(len(pairs) - len(changed))
    return sample_wrong(changed, ImageRole.REJECTED, settings, context)


def sample_wrong(
    pairs: Sequence[Pair], role: ImageRole, settings: SampledSettings, context: RecipeContext
) -> dict[str, str]:
    """Return the first wrong answer to each pair by its id; pairs that are always answered right have none.

    An empty answer is none: there is nothing to reject in it.
    """
    model = context.start_model()
    wrong: dict[str, str] = {}
    asked = list(pairs)
    for sample in range(settings.samples):
        answers = model.answer(
            asked,
            role,
            temperature=settings.temperature,
            max_new_tokens=settings.max_new_tokens,
            seed=seed_of(str(context.seed), str(sample)),
        )
        found = {
            pair.id: answer
            for pair, answer in zip(asked, answers, strict=True)
            if answer.strip() and not model.is_right(pair, answer)
        }
        wrong |= found
        asked = [pair for pair in asked if pair.id not in found]
        context.advance(len(found))
        if not asked:
            break
    context.advance(len(asked))
    return wrong


def _with_rejected(
    pairs: Sequence[Pair], wrong: dict[str, str], name: str, context: RecipeContext
) -> list[Pair]:
    if not wrong:
        raise InputError(
            "the model gave no wrong answer",
            remedy=f"Raise temperature or samples of the recipe {name}, or use another recipe.",
        )
    made = []
    for pair in pairs:
        if pair.id in wrong:
            rejected = pair.with_response(ResponseRole.REJECTED, wrong[pair.id])
            made.append(note_recipe(rejected, name, context.seed))
        else:
            context.leave_out(pair, name, "the model gave no wrong answer")
    return made


response_recipes.add(
    "self",
    Recipe(
        "what the SFT model itself says, sampled, where it is wrong",
        SampledSettings,
        from_self,
        needs_model=True,
    ),
)
response_recipes.add(
    "self-noised",
    Recipe(
        "what the SFT model says of the noised image, sampled, where it is wrong",
        NoisedSettings,
        from_self_noised,
        needs_model=True,
    ),
)
response_recipes.add(
    "self-erased",
    Recipe(
        "what the SFT model says of the image without its lesion, sampled, where it is wrong",
        ErasedAnswerSettings,
        from_self_erased,
        needs_model=True,
    ),
)
