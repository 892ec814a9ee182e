"""The recipe for rejected responses with one visual fact wrong, and which."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from medpref.errors import InputError, did_you_mean
from medpref.pairs.edits import ERROR_KINDS, MEDHEVAL_KINDS, edit, error_kinds, find_facts
from medpref.pairs.edits.asking import asked
from medpref.pairs.edits.mentions import stated
from medpref.pairs.kinds import classify
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Change, Pair, ResponseRole
from medpref.pairs.recipes.base import Recipe, RecipeContext, generator, note_recipe
from medpref.pairs.recipes.responses import (
    Group,
    group_of,
    known_answers,
    response_recipes,
    spoken,
    wrong_answers,
)

NAME = "targeted"

QUESTION_ERRORS: Mapping[str, str] = {
    "modality": "modality",
    "plane": "plane",
    "organ": "organ",
    "abnormality": "finding",
    "presence": "finding",
    "position": "zone",
    "size": "size",
    "colour": "colour",
    "count": "count",
    "attribute": "shape",
}
"""Question kind by its words → error kind of another answer in place of the right one."""

SHORT_ANSWER = 8
"""The most words of an answer that another answer of the data may stand in for."""


class TargetedSettings(BaseModel):
    """Which misreadings are made.

    Attributes:
        kinds: question kinds whose answers are misread, error kinds that are made in any answer (`side`,
            `count`, ...), or MedHEval's kinds of errors; the data source's visual question kinds by default.
        weights: error kind → how often it is drawn among the facts of one answer; 1 where nothing is said,
            0 for never.
        fallback: what is done with a short answer to a question of the kinds whose facts the rules do not
            know: reject another answer that the data gives to a question of that kind, or leave it out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: tuple[str, ...] | None = None
    weights: dict[str, float] = Field(default_factory=dict)
    fallback: Literal["other-answer", "none"] = "other-answer"

    @field_validator("weights")
    @classmethod
    def _weights_of_error_kinds(cls, weights: dict[str, float]) -> dict[str, float]:
        for kind, weight in weights.items():
            if kind not in ERROR_KINDS:
                raise ValueError(f"there is no error kind {kind!r}. {did_you_mean(kind, ERROR_KINDS)}")
            if weight < 0:
                raise ValueError(f"the weight of {kind} must not be negative")
        return weights


@dataclass(frozen=True, slots=True)
class Known:
    """What the data tells besides a pair.

    Attributes:
        answers: the answers to each sort of question.
        on_image: the pairs on each image.
        kinds: the names of the kinds that are misread.
        named: whether the settings name them.
    """

    answers: Mapping[Group, Sequence[str]]
    on_image: Mapping[str, Sequence[Pair]]
    kinds: tuple[str, ...]
    named: bool

    def asks(self, pair: Pair) -> bool:
        """Tell whether the pair's question is of one of the kinds."""
        return pair.kind in self.kinds

    def errors(self, pair: Pair) -> list[frozenset[str] | None]:
        """Return the error kinds to be made in the pair's answer, in the order they are tried; None is all.

        Error kinds that are named are made in all answers, others in answers to questions that are named.
        """
        named = error_kinds(self.kinds) if self.named else frozenset()
        return [*([named] if named else []), *([None] if self.asks(pair) else [])]


def targeted(pairs: Sequence[Pair], settings: TargetedSettings, context: RecipeContext) -> list[Pair]:
    """Reject the chosen response with one visual fact changed into a wrong one, by rules.

    Nothing is changed into what another answer on the same image states. The provenance and the pair's
    `changes` name the error (targeted strategy, arXiv:2601.17918). Pairs of other kinds, and those without a
    fact that can be changed safely, are left out.

    Raises:
        InputError: neither the settings nor the data source name kinds, a name is no kind, or no pair can be
            misread.
    """
    known = _known(pairs, settings, context)
    made = []
    for pair in pairs:
        rejected = _misread(pair, settings, known, context)
        if isinstance(rejected, Pair):
            made.append(rejected)
        else:
            context.leave_out(pair, NAME, rejected)
    if not made:
        raise InputError(f"no pair can be misread in one of the kinds {', '.join(known.kinds)}")
    return made


def _known(pairs: Sequence[Pair], settings: TargetedSettings, context: RecipeContext) -> Known:
    kinds = tuple(context.visual_kinds) if settings.kinds is None else settings.kinds
    if not kinds:
        raise InputError(
            "the data source names no visual question kinds",
            remedy="Name question or error kinds: {recipe: targeted, kinds: [side, presence, …]}.",
        )
    usable = {*(pair.kind for pair in pairs if pair.kind), *ERROR_KINDS, *MEDHEVAL_KINDS.values()}
    for kind in settings.kinds or ():
        if kind not in usable:
            raise InputError(
                f"{kind!r} is neither a question kind of the data nor an error kind",
                where="kinds",
                remedy=did_you_mean(kind, usable),
            )
    on_image: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if pair.image_key:
            on_image[pair.image_key].append(pair)
    return Known(known_answers(pairs), on_image, kinds, settings.kinds is not None)


def _misread(pair: Pair, settings: TargetedSettings, known: Known, context: RecipeContext) -> Pair | str:
    """Return the pair with its rejected response, or why it has none."""
    tried = known.errors(pair)
    if not tried:
        return f"no error is known for kind {pair.kind or 'unknown'}"
    answer = pair.responses[ResponseRole.CHOSEN]
    question = question_of(pair)
    true = also_true(pair, known.on_image.get(pair.image_key, ()))
    for kinds in tried:
        edited = edit(
            answer,
            question,
            generator(context.seed, NAME, pair.id),
            kinds=kinds,
            avoid=true,
            weights=settings.weights,
            prefer=frozenset(known.answers[group_of(pair)]),
        )
        if edited is not None:
            return _with_error(pair, edited.text, edited.change, context.seed)
    short = len(answer.split()) <= SHORT_ANSWER
    if settings.fallback == "other-answer" and known.asks(pair) and short:
        return _other_answer(pair, question, true, known, context.seed)
    stated_kinds = {fact.kind for fact in find_facts(answer, question)}
    if not stated_kinds:
        return "no visual fact is known in the answer"
    if not any(kinds is None or kinds & stated_kinds for kinds in tried):
        return "the answer states no fact of the kinds that are named"
    return "no change of the answer is sure to be wrong"


def _other_answer(pair: Pair, question: str, true: Sequence[str], known: Known, seed: int) -> Pair | str:
    wrong = wrong_answers(pair, known.answers)
    if not wrong:
        return f"the data has only one answer to kind {pair.kind}"
    answer = pair.responses[ResponseRole.CHOSEN]
    safe = [text for text in wrong if _excludes(text, answer, true)]
    if not safe or asked(question).open_ended:
        return f"another answer to kind {pair.kind} may be true too"
    text = safe[int(generator(seed, NAME, pair.id).integers(len(safe)))]
    change = Change(_error_of(question), 0, len(text), answer, text)
    return _with_error(pair, text, change, seed)


def _error_of(question: str) -> str:
    """Return the error kind of a wrong answer to `question`: a finding where its words tell no other."""
    told = (QUESTION_ERRORS.get(kind.name) for kind in classify(question))
    return next(filter(None, told), "finding")


def _excludes(text: str, answer: str, true: Sequence[str]) -> bool:
    """Tell whether `text` shares no value and no wording with the answer and with what else is true."""
    said, right = set(spoken(text).split()), set(spoken(answer).split())
    if said <= right or right <= said or spoken(text) in {spoken(other) for other in true}:
        return False
    return not stated([text]) & stated([answer, *true])


def _with_error(pair: Pair, text: str, change: Change, seed: int) -> Pair:
    broad = MEDHEVAL_KINDS.get(change.error)
    error = f"{change.error}, {broad}" if broad else change.error
    rejected = replace(pair.with_response(ResponseRole.REJECTED, text), changes=(change,))
    return note_recipe(rejected, f"{NAME} (error: {error})", seed)


def question_of(pair: Pair) -> str:
    """Return the pair's question without its images' placeholders."""
    return pair.prompt.replace(IMAGE_PLACEHOLDER, "").strip()


def also_true(pair: Pair, on_image: Collection[Pair]) -> list[str]:
    """Return what the other pairs on the pair's image state: their answers, and questions answered by yes.

    Bare numbers state nothing without their question, and answers to the same question say the same.
    """
    texts = []
    for other in on_image:
        if other.id == pair.id:
            continue
        answer = other.responses[ResponseRole.CHOSEN]
        if spoken(answer) == "yes":
            texts.append(question_of(other))
        elif spoken(answer) != "no" and not spoken(answer).isdigit():
            texts.append(answer)
    return texts


response_recipes.add(
    NAME,
    Recipe("the chosen response with one visual fact wrong, by rules", TargetedSettings, targeted),
)
