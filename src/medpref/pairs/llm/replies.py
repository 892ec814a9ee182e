"""Check what a language model wrote before anything is trained on it."""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from medpref.pairs.llm.prompts import leaks
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Change

FENCE = re.compile(r"^```(?:json)?\s*(.*?)\s*```$", re.DOTALL)
WORD = re.compile(r"[^\W_]+|[<>≤≥±%]")
SLACK = 2
"""So many words more, or fewer, than the ratio allows are no matter: "No" may become "Yes, there is"."""
COPIED_WORDS = 7
"""So many words in a row that also stand in the instruction are copied from it."""

ModelT = TypeVar("ModelT", bound=BaseModel)


class FaultyReplyError(ValueError):
    """A reply that cannot be used; the message is told to the model."""


class Written(BaseModel):
    """A rejected response as a model wrote it.

    Attributes:
        rejected: the response.
        changed_from: words of the chosen response that it has wrong.
        changed_to: the words in their place.
        error: the kind of the error.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    rejected: str = Field(min_length=1)
    changed_from: str = Field(min_length=1)
    changed_to: str = Field(min_length=1)
    error: str


class Judged(BaseModel):
    """A judge's score in [0, 1], and why."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    score: float = Field(ge=0, le=1, allow_inf_nan=False)
    reason: str = ""

    @field_validator("score", mode="before")
    @classmethod
    def _a_number(cls, score: Any) -> Any:
        # "0.7" is meant as a number; true is not.
        if isinstance(score, bool):
            raise ValueError("a score is a number")
        return score


class Task(NamedTuple):
    """What a written response is held against.

    Attributes:
        question: the pair's question.
        chosen: its chosen response.
        error: the kind of error that was asked for.
        instruction: all that the model was told beside these.
        ratio: the least and the most words, as multiples of the chosen response's.
    """

    question: str
    chosen: str
    error: str
    instruction: str
    ratio: tuple[float, float]


def read_reply(text: str, finish: str, model: type[ModelT]) -> ModelT:
    """Return a reply's JSON object, checked; a code fence or words around it are no matter.

    Raises:
        FaultyReplyError: it was cut short, is no JSON object, or has another form.
    """
    if finish == "length":
        raise FaultyReplyError("it was cut short at the longest reply")
    bare = text.strip()
    fenced = FENCE.match(bare)
    try:
        value: Any = json.loads(fenced[1] if fenced else bare[bare.find("{") : bare.rfind("}") + 1] or bare)
    except (ValueError, RecursionError):
        raise FaultyReplyError("it is no JSON object") from None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "the object"
        raise FaultyReplyError(f"{key}: {first['msg']}") from None


def read_written(text: str, finish: str, task: Task) -> Written:
    """Return a rejected response that passes all checks, without blanks around it.

    Raises:
        FaultyReplyError: it has another form or error, says what the chosen response says, does not hold the
            changed words, is much longer or shorter, or repeats the instruction.
    """
    made = read_reply(text, finish, Written)
    made = made.model_copy(update={"rejected": made.rejected.strip()})
    for fault in (_wrong_words(made, task), _wrong_length(made, task), _leak(made.rejected, task)):
        if fault:
            raise FaultyReplyError(fault)
    return made


def words(text: str) -> list[str]:
    """Return a text's words and signs of comparison, without case: what counts when two are compared."""
    return WORD.findall(text.casefold())


def find_change(chosen: str, made: Written) -> Change | None:
    """Return where a written response differs; None where the changed words stand at several places."""
    before, after = spans(made.changed_from, chosen), spans(made.changed_to, made.rejected)
    # Of several places, the one that has the same text in front of it in both responses.
    aligned = [(b, a) for b in before for a in after if words(chosen[: b[0]]) == words(made.rejected[: a[0]])]
    pairs = aligned or [(b, a) for b in before for a in after]
    if len(pairs) != 1:
        return None
    (was_start, was_end), (start, end) = pairs[0]
    return Change(made.error, start, end, chosen[was_start:was_end], made.rejected[start:end])


def spans(phrase: str, text: str) -> list[tuple[int, int]]:
    """Return where a phrase stands in a text as whole words, in characters; case and blanks do not count."""
    parts = phrase.strip(" \t\n.,;:\"'").split()
    if not parts:
        return []
    pattern = r"\s+".join(map(re.escape, parts))
    return [match.span() for match in re.finditer(rf"(?<!\w){pattern}(?!\w)", text, re.IGNORECASE)]


def _wrong_words(made: Written, task: Task) -> str | None:
    if not words(made.rejected):
        return "rejected is empty"
    if IMAGE_PLACEHOLDER in made.rejected:
        return f"rejected holds {IMAGE_PLACEHOLDER}"
    if words(made.rejected) == words(task.chosen):
        return "rejected says the same as the correct answer"
    if made.error.strip().casefold() != task.error:
        return f"error is not {task.error!r}"
    if words(made.changed_from) == words(made.changed_to):
        return "changed_from and changed_to are the same"
    if not spans(made.changed_from, task.chosen):
        return "changed_from does not stand in the correct answer"
    if not spans(made.changed_to, made.rejected):
        return "changed_to does not stand in rejected"
    return None


def _wrong_length(made: Written, task: Task) -> str | None:
    count, right = len(words(made.rejected)), len(words(task.chosen))
    least, most = task.ratio
    if count > most * right + SLACK:
        return f"rejected has far more words than the correct answer ({count} to {right})"
    if count < least * right - SLACK:
        return f"rejected has far fewer words than the correct answer ({count} to {right})"
    return None


def _leak(rejected: str, task: Task) -> str | None:
    given = _joined(words(f"{task.question} {task.chosen}"))
    said = words(rejected)
    instruction = _joined(words(task.instruction))
    runs = [_joined(said[i : i + COPIED_WORDS]) for i in range(len(said) - COPIED_WORDS + 1)]
    copied = [run for run in runs if run in instruction and run not in given]
    known = [
        phrase for phrase in leaks() if (run := _joined(words(phrase))) in _joined(said) and run not in given
    ]
    found = [*known, *(run.strip() for run in copied)]
    return f"rejected repeats the instruction: {found[0]!r}" if found else None


def _joined(parts: Sequence[str]) -> str:
    """Return words with a blank at both ends, so that only whole ones are found in it."""
    return f" {' '.join(parts)} "
