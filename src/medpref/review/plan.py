"""What is judged: questions drawn from a run's logs, their distinct answers, and pairs of these."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from medpref.errors import InputError, did_you_mean
from medpref.evaluation.log import EvaluationLog, Record, read_logs
from medpref.files import content_hash, read_json

ItemKind = Literal["answer", "comparison"]
# A study's main control is SFT continued with equal compute; without one, the start is what remains.
_CONTROLS = ("sft-continued", "sft")


class ReviewSettings(BaseModel):
    """What is drawn for a review.

    Attributes:
        seed: of the questions drawn, of each reviewer's order, and of the sides.
        questions: how many questions are drawn of each task; the same for all backbones.
        tasks, backbones, methods: whose answers are judged; empty for all.
        run_seed: whose answers of a study with several seeds; the lowest by default.
        compare: which answers are set side by side: each method's and the control's, all, or none.
        control: the control; the study's main one by default.
        reference: whether reviewers may open the reference answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    questions: int = Field(50, ge=1)
    tasks: tuple[str, ...] = ()
    backbones: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    run_seed: int | None = None
    compare: Literal["control", "all", "none"] = "control"
    control: str | None = None
    reference: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """One of the distinct answers to a question: methods that say the same are judged once.

    Attributes:
        key: tells the answer from others and nothing of who gave it.
        text: as generated.
        methods: who gave it.
    """

    key: str
    text: str
    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a task with all distinct answers of a backbone's methods.

    Attributes:
        backbone, seed, task: where the answers are from.
        sample: the sample's id in the task.
        split: which split the question is of, such as ``test``.
        prompt: what was asked, with a placeholder for each image.
        images: the image files, relative to the run folder or absolute.
        cluster: the image or patient that intervals are clustered by.
        gold: the reference answer.
        kind: the most certain question kind.
        region: a mask file of the region of interest, where there is one.
        answers: the answers, by their text.
    """

    backbone: str
    seed: int
    task: str
    sample: str
    split: str
    prompt: str
    images: tuple[str, ...]
    cluster: str
    gold: str
    kind: str
    region: str | None
    answers: tuple[Answer, ...]

    @property
    def key(self) -> str:
        """Tells the question from all others of the run."""
        return content_hash(self.backbone, self.seed, self.task, self.sample)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "answers"}
        answers = [{"key": a.key, "text": a.text, "methods": list(a.methods)} for a in self.answers]
        return {"key": self.key, **fields, "images": list(self.images), "answers": answers}


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to judge: an answer, or two answers side by side. Its id tells nothing of the methods."""

    id: str
    kind: ItemKind
    question: Question
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Plan:
    """All items of a review.

    Attributes:
        study: the study's name.
        settings: what they were drawn by, with every name that was left open.
        questions: the questions drawn.
        items: what is judged, in an order without meaning.
    """

    study: str
    settings: ReviewSettings
    questions: tuple[Question, ...]
    items: tuple[Item, ...]

    @cached_property
    def by_id(self) -> Mapping[str, Item]:
        """The items by their ids."""
        return {item.id: item for item in self.items}

    @cached_property
    def fingerprint(self) -> str:
        """Changes with any question, answer or image name that is judged."""
        return content_hash([question.to_json() for question in self.questions], [i.id for i in self.items])

    def order(self, reviewer: str) -> list[Item]:
        """Return the items in a reviewer's own random order, always the same."""
        return sorted(self.items, key=lambda item: content_hash(self.settings.seed, reviewer, item.id))

    def shown(self, item: Item, reviewer: str) -> tuple[Answer, ...]:
        """Return an item's answers from left to right, which side is which being drawn for each reviewer."""
        turned = int(content_hash(self.settings.seed, reviewer, item.id, "side"), 16) % 2
        return item.answers[::-1] if turned else item.answers

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "study": self.study,
            "settings": self.settings.model_dump(mode="json"),
            "fingerprint": self.fingerprint,
            "questions": [question.to_json() for question in self.questions],
            "items": [
                {
                    "id": i.id,
                    "kind": i.kind,
                    "question": i.question.key,
                    "answers": [a.key for a in i.answers],
                }
                for i in self.items
            ],
        }


def make_plan(run: Path, settings: ReviewSettings) -> Plan:
    """Draw what is judged from the logs of a run. Equal logs and settings give equal plans.

    Raises:
        InputError: there are no answers, or a setting names what the run does not have.
    """
    logs = _chosen(read_logs(run / "logs"), settings, run)
    resolved = _resolved(settings, logs, run)
    questions = tuple(_questions(logs, resolved))
    items = tuple(item for question in questions for item in _items(question, resolved))
    return Plan(logs[0].header.study, resolved, questions, items)


def _resolved(settings: ReviewSettings, logs: Sequence[EvaluationLog], run: Path) -> ReviewSettings:
    """Return settings that name what is drawn from: methods that are added later change nothing."""
    found = {
        field: tuple(sorted({getattr(log.header, field) for log in logs}))
        for field in ("task", "backbone", "method")
    }
    update = {
        "tasks": found["task"],
        "backbones": found["backbone"],
        "methods": found["method"],
        "run_seed": logs[0].header.seed,
        "control": _control(run, found["method"], settings),
    }
    return settings.model_copy(update=update)


def _chosen(logs: Iterable[EvaluationLog], settings: ReviewSettings, run: Path) -> list[EvaluationLog]:
    """Return the logs of the methods that are judged, as images are and of one seed."""
    found = [
        log
        for log in logs
        if log.header.condition == "normal" and not log.header.method.startswith("baseline:")
    ]
    if not found:
        raise InputError(
            "the run has no answers to review", where=str(run), remedy="Name a study's or eval's folder."
        )
    for field, wanted in (
        ("task", settings.tasks),
        ("backbone", settings.backbones),
        ("method", settings.methods),
        ("seed", () if settings.run_seed is None else (settings.run_seed,)),
    ):
        known = {str(getattr(log.header, field)) for log in found}
        for name in wanted:
            if str(name) not in known:
                raise InputError(
                    f"the run has no {field} {str(name)!r}",
                    where=str(run),
                    remedy=did_you_mean(str(name), known),
                )
        found = [log for log in found if not wanted or getattr(log.header, field) in wanted]
    seed = min(log.header.seed for log in found)
    return [log for log in found if log.header.seed == seed]


def _control(run: Path, methods: Sequence[str], settings: ReviewSettings) -> str | None:
    if settings.control is not None:
        if settings.control not in methods:
            raise InputError(
                f"no answers of a method {settings.control!r} are judged",
                where="control",
                remedy=did_you_mean(settings.control, methods),
            )
        return settings.control
    about = read_json(run / "run.json") if (run / "run.json").is_file() else {}
    named = list((about.get("study") or {}).get("controls") or ())
    return next((name for name in (*_CONTROLS[:1], *named[::-1], *_CONTROLS) if name in methods), None)


def _questions(logs: Sequence[EvaluationLog], settings: ReviewSettings) -> Iterator[Question]:
    places: dict[tuple[str, str], list[EvaluationLog]] = defaultdict(list)
    for log in logs:
        places[log.header.backbone, log.header.task].append(log)
    for (_, task), own in sorted(places.items()):
        records = {log.header.method: {record.id: record for record in log.records} for log in own}
        # A question that one method was not asked cannot compare it with the others.
        common = set.intersection(*(set(found) for found in records.values()))
        drawn = sorted(common, key=lambda name: content_hash(settings.seed, task, name))
        for name in sorted(drawn[: settings.questions]):
            yield _question(own[0], {method: found[name] for method, found in records.items()})


def _question(log: EvaluationLog, records: Mapping[str, Record]) -> Question:
    record = next(iter(records.values()))
    header = log.header
    by_text: dict[str, list[str]] = defaultdict(list)
    for method, own in sorted(records.items()):
        by_text[own.prediction].append(method)
    place = (header.backbone, header.seed, header.task, record.id)
    return Question(
        backbone=header.backbone,
        seed=header.seed,
        task=header.task,
        sample=record.id,
        split=header.split,
        prompt=record.prompt,
        images=record.images,
        cluster=record.cluster,
        gold=record.gold,
        kind=record.kinds[0] if record.kinds else "other",
        region=record.region,
        answers=tuple(
            Answer(content_hash(place, text), text, tuple(methods))
            for text, methods in sorted(by_text.items())
        ),
    )


def _items(question: Question, settings: ReviewSettings) -> Iterator[Item]:
    for answer in question.answers:
        yield Item(content_hash("answer", answer.key), "answer", question, (answer,))
    for pair in combinations(question.answers, 2):
        if settings.compare == "all" or (
            settings.compare == "control" and any(settings.control in answer.methods for answer in pair)
        ):
            yield Item(content_hash("comparison", *(a.key for a in pair)), "comparison", question, pair)
