"""What a reviewer may say of an answer, and of two answers side by side."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from medpref.evaluation.looking.error_rules import ERROR_KINDS

LONGEST_COMMENT = 4000
"""In characters."""
TIE, CANNOT_TELL = "tie", "cannot-tell"


class Verdict(StrEnum):
    """Whether an answer is right."""

    CORRECT = "correct"
    PARTLY = "partly"
    WRONG = "wrong"
    CANNOT_TELL = CANNOT_TELL


class Harm(StrEnum):
    """How much harm an answer could do if somebody acted on it, least first."""

    NONE = "none"
    MILD = "mild"
    MODERATE = "moderate"
    SEVERE = "severe"


FAULTY = (Verdict.PARTLY, Verdict.WRONG)
"""The verdicts on answers that have something wrong, so that kinds of errors and harm can be told."""


def _known_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Return kinds of errors in their own order, each once. Raises `ValueError` for an unknown one."""
    unknown = set(kinds) - set(ERROR_KINDS)
    if unknown:
        raise ValueError(f"no kinds of errors: {', '.join(sorted(unknown))}")
    return tuple(kind for kind in ERROR_KINDS if kind in kinds)


class _Judgement(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    comment: str = Field("", max_length=LONGEST_COMMENT)
    opened: tuple[Literal["region", "reference"], ...] = Field((), max_length=2)


class AnswerJudgement(_Judgement):
    """What a reviewer says of one answer.

    Attributes:
        verdict: None while it is open.
        errors: what kinds of errors the answer has, of `ERROR_KINDS`.
        harm: how much harm it could do.
        comment: anything else.
        opened: what the reviewer looked at beside the image: the region of interest, the reference answer.
    """

    verdict: Verdict | None = None
    errors: Annotated[tuple[str, ...], AfterValidator(_known_kinds)] = ()
    harm: Harm | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "AnswerJudgement":
        if (self.errors or self.harm) and self.verdict not in FAULTY:
            raise ValueError("kinds of errors and harm belong to answers that are partly or wholly wrong")
        return self

    @property
    def complete(self) -> bool:
        """Whether the verdict is given."""
        return self.verdict is not None


class Preference(_Judgement):
    """Which of two answers a reviewer prefers.

    Attributes:
        preferred: the better answer's key, ``tie``, ``cannot-tell``, or None while it is open.
        comment: anything else.
        opened: as of an `AnswerJudgement`.
    """

    preferred: str | None = Field(None, max_length=64)

    @property
    def complete(self) -> bool:
        """Whether the preference is given."""
        return self.preferred is not None


Judgement = AnswerJudgement | Preference
JUDGEMENTS: Mapping[str, type[AnswerJudgement] | type[Preference]] = {
    "answer": AnswerJudgement,
    "comparison": Preference,
}
"""What is said of each kind of item."""
