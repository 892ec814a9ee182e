"""The recipe `mined`: more pairs of the kinds that the SFT model gets wrong, as held-out images tell."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medpref.errors import InputError
from medpref.files import write_json
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.recipes.base import Recipe, RecipeContext, generator, note_recipe, seed_of
from medpref.pairs.recipes.responses import response_recipes, spoken

NAME = "mined"
REPORT = f"{NAME}.json"
UNKNOWN = "unknown"
COMMONEST = 10
"""How many of a kind's confusions are reported."""


class MinedSettings(BaseModel):
    """How errors are looked for, and what is made of them.

    Attributes:
        held_out: the share of the images whose questions are asked; their pairs are not trained on.
        temperature: of the answers; 0 takes the likeliest token each time.
        max_new_tokens: the longest answer.
        uniform: the share of the mixture that stays as the data has it: choosing by errors alone forgets
            what the model does well.
        draw: ``replace`` repeats pairs and leaves others out; ``weigh`` keeps each once and weighs it.
        kinds: the question kinds that are used; the data source's visual kinds, or else all.
        then: the recipe that makes the rejected responses.
        settings: of that recipe.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    held_out: float = Field(0.2, gt=0, lt=1)
    temperature: float = Field(0.0, ge=0)
    max_new_tokens: int = Field(64, ge=1)
    uniform: float = Field(0.25, ge=0, le=1)
    draw: Literal["replace", "weigh"] = "replace"
    kinds: tuple[str, ...] | None = Field(None, min_length=1)
    then: str = "targeted"
    settings: dict[str, Any] = {}

    @model_validator(mode="after")
    def _sound_recipe(self) -> "MinedSettings":
        if self.then == NAME:
            raise ValueError("mined cannot be followed by itself")
        try:
            response_recipes[self.then].settings.model_validate(self.settings)
        except InputError as error:
            raise ValueError(str(error)) from None
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            raise ValueError(f"{self.then}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        return self


@dataclass(slots=True)
class Confusion:
    """What the model says of one kind of question.

    Attributes:
        asked, wrong: how often it was asked, and answered wrongly.
        said: how often it said what in place of which right answer, as (right, said), without case.
    """

    asked: int = 0
    wrong: int = 0
    said: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def error(self) -> float:
        """The error rate, with one right and one wrong answer added: few questions tell little."""
        return (self.wrong + 1) / (self.asked + 2)


def mined(pairs: Sequence[Pair], settings: MinedSettings, context: RecipeContext) -> list[Pair]:
    """Mix the pairs by what the model gets wrong, then make their rejected responses by another recipe.

    A pair counts ``uniform + (1 − uniform) · e / ē`` times, e being the error rate of its kind and ē the mean
    of e over the pairs that may be drawn. ``mined.json`` tells the model's confusion by kind.

    Raises:
        InputError: no pair is of one of the kinds, or all or none of the images are held out.
    """
    mine = _of_kinds(pairs, settings, context)
    held = [pair for pair in mine if _is_held_out(pair, settings.held_out, context.seed)]
    held_ids = {pair.id for pair in held}
    pool = [pair for pair in mine if pair.id not in held_ids]
    if not held or not pool:
        raise InputError(
            f"of {len(mine)} pairs {len(held)} are held out: some must be asked and some be trained on",
            remedy="Change held_out, or use more images.",
        )
    for pair in held:
        context.leave_out(pair, NAME, "held out, to find what the model gets wrong")
    confusion = confuse(held, settings, context)
    counts = expected_counts(pool, confusion, settings.uniform)
    mixed = DRAWS[settings.draw](pool, counts, context)
    _report(pool, mixed, confusion, counts, settings, context)
    # What follows counts its own work, of which nobody knew before.
    quiet = replace(context, advance=lambda _: None)
    made = response_recipes[settings.then].run(mixed, settings.settings, quiet)
    context.advance(len(pairs) - len(held))
    return [note_recipe(pair, f"{NAME} ({settings.draw})", context.seed) for pair in made]


def confuse(held: Sequence[Pair], settings: MinedSettings, context: RecipeContext) -> Mapping[str, Confusion]:
    """Ask the model the held-out questions and return what it says, by kind."""
    model = context.start_model()
    answers = model.answer(
        held,
        ImageRole.CLEAN,
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens,
        seed=seed_of(str(context.seed), NAME),
    )
    context.advance(len(held))
    found: dict[str, Confusion] = defaultdict(Confusion)
    for pair, answer in zip(held, answers, strict=True):
        kind = found[pair.kind or UNKNOWN]
        kind.asked += 1
        if not model.is_right(pair, answer):
            kind.wrong += 1
            kind.said[spoken(pair.responses[ResponseRole.CHOSEN]), spoken(answer)] += 1
    return found


def expected_counts(
    pool: Sequence[Pair], confusion: Mapping[str, Confusion], uniform: float
) -> dict[str, float]:
    """Return how often each kind's pairs count in the mixture; the mean over the pool is 1.

    A kind that was not asked has the error rate of all questions together.
    """
    overall = Confusion(sum(c.asked for c in confusion.values()), sum(c.wrong for c in confusion.values()))
    sizes = Counter(pair.kind or UNKNOWN for pair in pool)
    errors = {kind: confusion.get(kind, overall).error for kind in sizes}
    mean = sum(errors[kind] * size for kind, size in sizes.items()) / len(pool)
    return {kind: uniform + (1 - uniform) * error / mean for kind, error in errors.items()}


def draw_again(pool: Sequence[Pair], counts: Mapping[str, float], context: RecipeContext) -> list[Pair]:
    """Repeat each pair as often as it counts, rounded up or down by chance; copies have ids of their own.

    On average as many pairs come out as go in. A draw from all pairs at once would have the same mean and
    more chance in it, and one pair more or less would change it all.
    """
    mixed = []
    for pair in pool:
        count = counts[pair.kind or UNKNOWN]
        times = int(count + generator(context.seed, NAME, pair.id).random())
        if not times:
            context.leave_out(pair, NAME, "not drawn: the model gets its kind right too often")
        mixed += [pair, *(replace(pair, id=f"{pair.id}#{number}") for number in range(2, times + 1))][:times]
    return mixed


def weigh_by_error(pool: Sequence[Pair], counts: Mapping[str, float], context: RecipeContext) -> list[Pair]:
    """Multiply each pair's weight by how often it counts; a pair without a weight has weight 1."""
    return [
        replace(pair, weight=(1.0 if pair.weight is None else pair.weight) * counts[pair.kind or UNKNOWN])
        for pair in pool
    ]


Draw = Callable[[Sequence[Pair], Mapping[str, float], RecipeContext], list[Pair]]
DRAWS: Mapping[str, Draw] = {"replace": draw_again, "weigh": weigh_by_error}


def _of_kinds(pairs: Sequence[Pair], settings: MinedSettings, context: RecipeContext) -> list[Pair]:
    kinds = settings.kinds or tuple(context.visual_kinds)
    kept = []
    for pair in pairs:
        if kinds and pair.kind not in kinds:
            context.leave_out(pair, NAME, f"kind {pair.kind or UNKNOWN} is not mined")
        else:
            kept.append(pair)
    if not kept:
        raise InputError(f"no pair is of one of the kinds {', '.join(kinds)}")
    return kept


def _is_held_out(pair: Pair, share: float, seed: int) -> bool:
    # Whole images: a question about an image that is trained on would not be held out. By the files' names,
    # not their places: a moved data set holds the same images out.
    names = [path.name for path in pair.images.get(ImageRole.CLEAN, ())] or [pair.id]
    return bool(generator(seed, NAME, "held out", *names).random() < share)


def _report(
    pool: Sequence[Pair],
    mixed: Sequence[Pair],
    confusion: Mapping[str, Confusion],
    counts: Mapping[str, float],
    settings: MinedSettings,
    context: RecipeContext,
) -> None:
    before, after = (Counter(pair.kind or UNKNOWN for pair in some) for some in (pool, mixed))
    kinds = {
        kind: {
            "asked": found.asked,
            "wrong": found.wrong,
            "error_rate": found.error,
            "counts": counts.get(kind),
            "pairs_before": before[kind],
            "pairs_after": after[kind],
            "confusions": [
                {"right": right, "said": said, "times": times}
                for (right, said), times in sorted(found.said.items(), key=lambda item: (-item[1], item[0]))
            ][:COMMONEST],
        }
        for kind in sorted({*confusion, *before})
        for found in [confusion.get(kind, Confusion())]
    }
    write_json(context.folder / REPORT, {"settings": settings.model_dump(mode="json"), "kinds": kinds})


response_recipes.add(
    NAME,
    Recipe(
        "pairs of the kinds that the SFT model gets wrong most, made by another recipe",
        MinedSettings,
        mined,
        needs_model=True,
    ),
)
