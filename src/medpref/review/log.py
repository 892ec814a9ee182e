"""A review as its logs tell it: what was drawn, and what reviewers said; what is stale is told apart."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medpref.errors import InputError
from medpref.evaluation.log import EvaluationLog
from medpref.files import read_json, read_jsonl
from medpref.review.export import JUDGEMENTS, LOGS, PLAN, VERSION
from medpref.review.plan import Answer, Question, ReviewSettings


@dataclass(frozen=True, slots=True)
class Said:
    """What one reviewer said of one item; what is None does not belong to its kind or was not said.

    Attributes:
        reviewer: the reviewer's name.
        item: the item's id.
        question: the question's key.
        answers: the answers' keys: one, or two that stood side by side.
        verdict: of one answer.
        errors: kinds of errors of one answer.
        harm: of one answer.
        preferred: of two answers: the better one's key, ``tie`` or ``cannot-tell``.
    """

    reviewer: str
    item: str
    question: str
    answers: tuple[str, ...]
    verdict: str | None = None
    errors: tuple[str, ...] = ()
    harm: str | None = None
    preferred: str | None = None


@dataclass(frozen=True, slots=True)
class ReviewLog:
    """A review.

    Attributes:
        study: the study's name.
        settings: what was drawn.
        reviewers: all reviewers, those who said nothing yet too.
        questions: the questions by their keys.
        items: the number of things to judge.
        said: the judgements that have a verdict or a preference.
        drafts: how many have none yet.
    """

    study: str
    settings: ReviewSettings
    reviewers: tuple[str, ...]
    questions: Mapping[str, Question]
    items: int
    said: tuple[Said, ...]
    drafts: int

    def judged(self, reviewer: str) -> int:
        """Count the items that a reviewer has judged."""
        return sum(one.reviewer == reviewer for one in self.said)


def read_review(run: Path) -> ReviewLog | None:
    """Read ``logs/review`` of a run, None where nobody reviewed it.

    Raises:
        InputError: a file is broken or of another version.
    """
    folder = run / LOGS
    if not (folder / PLAN).is_file():
        return None
    try:
        return _read(folder)
    except (KeyError, TypeError, ValueError) as error:
        remedy = "Write it anew: medpref review RUN --export."
        raise InputError(f"this is no review: {error}", where=str(folder), remedy=remedy) from None


def _read(folder: Path) -> ReviewLog:
    about = read_json(folder / PLAN)
    if about["version"] != VERSION:
        raise InputError(
            f"a review of version {about['version']}, this medpref reads {VERSION}", where=str(folder / PLAN)
        )
    questions = {row["key"]: _question(row) for row in about["questions"]}
    rows = [row for _, row in read_jsonl(folder / JUDGEMENTS)]
    said = tuple(_said(row) for row in rows if row["complete"])
    unknown = {one.question for one in said} - set(questions)
    if unknown:
        raise ValueError("judgements on questions that were not drawn")
    return ReviewLog(
        study=about["study"],
        settings=ReviewSettings.model_validate(about["settings"]),
        reviewers=tuple(about["reviewers"]),
        questions=questions,
        items=len(about["items"]),
        said=said,
        drafts=len(rows) - len(said),
    )


def _question(row: Mapping[str, Any]) -> Question:
    answers = tuple(Answer(a["key"], a["text"], tuple(a["methods"])) for a in row["answers"])
    fields = {name: value for name, value in row.items() if name != "key"}
    return Question(**{**fields, "images": tuple(row["images"]), "answers": answers})


def _said(row: Mapping[str, Any]) -> Said:
    return Said(
        reviewer=row["reviewer"],
        item=row["item"],
        question=row["question"],
        answers=tuple(answer["key"] for answer in row["answers"]),
        verdict=row.get("verdict"),
        errors=tuple(row.get("errors", ())),
        harm=row.get("harm"),
        preferred=row.get("preferred"),
    )


def without_stale(review: ReviewLog, logs: Iterable[EvaluationLog]) -> tuple[ReviewLog, Sequence[str]]:
    """Take methods off the answers that they no longer give, as after another run into the same folder.

    Returns:
        The review, and the names of the methods with such answers.
    """
    now = {
        (
            log.header.backbone,
            log.header.seed,
            log.header.task,
            record.id,
            log.header.method,
        ): record.prediction
        for log in logs
        if log.header.condition == "normal"
        for record in log.records
    }
    stale: set[str] = set()
    questions = {}
    for key, question in review.questions.items():
        place = (question.backbone, question.seed, question.task, question.sample)
        answers = []
        for answer in question.answers:
            same = tuple(m for m in answer.methods if now.get((*place, m)) == answer.text)
            stale |= set(answer.methods) - set(same)
            answers.append(replace(answer, methods=same))
        questions[key] = replace(question, answers=tuple(answers))
    return replace(review, questions=questions), sorted(stale)
