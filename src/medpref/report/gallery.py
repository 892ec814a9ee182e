"""The gallery: samples that show where methods differ, chosen by rule and not by eye."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import zip_longest

from medpref.evaluation.log import EvaluationLog, Record
from medpref.evaluation.looking.error_kinds import rules, wrong_answer
from medpref.files import content_hash
from medpref.report.images import (
    Images,
    Outline,
    Picture,
    beside_page,
    in_page,
    picture,
    read_copies,
    read_copy,
    read_outline,
)
from medpref.report.layout import NO_BACKBONE, START, Layout
from medpref.report.load import RunFolder
from medpref.report.wording import in_sentence, metric_name

SIZE = 48
"""How many samples the gallery has, over all backbones."""

_MOST_IMAGES = 2
_LONGEST_TEXT = 500
_LONG_TEXT = 120
_HALF = 0.5


class Group(Enum):
    """What a sample shows; its value is what the page calls it."""

    REGRESSION = "right at the start, lost by some"
    GAIN = "wrong at the start, won by some"
    WRONG = "wrong everywhere"
    RIGHT = "right everywhere"


# How many of every 24 samples each group has; what a group lacks goes to the others.
_SHARES = {Group.REGRESSION: 8, Group.GAIN: 6, Group.WRONG: 6, Group.RIGHT: 4}


@dataclass(frozen=True, slots=True)
class Answer:
    """One method's answer.

    Attributes:
        method: whose.
        text: what it says.
        score: that of the metric that decides, in [0, 1].
        errors: what kinds of error it makes, by the rules on the texts; of a right answer none.
    """

    method: str
    text: str
    score: float
    errors: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        """Whether the answer got at least half of the full score; most metrics give all or nothing."""
        return self.score >= _HALF

    @property
    def graded(self) -> bool:
        """Whether the score lies between nothing and all."""
        return 0 < self.score < 1


@dataclass(frozen=True, slots=True)
class Question:
    """One sample with everyone's answers, before its images are read.

    Attributes:
        record: the sample as the first method's log has it.
        backbone: whose answers they are.
        task: the task's name.
        metric: the score that decides between right and wrong.
        answers: one for each method, the controls first.
        group: what it shows.
    """

    record: Record
    backbone: str
    task: str
    metric: str
    answers: tuple[Answer, ...]
    group: Group

    @property
    def kind(self) -> str:
        """The most certain question kind."""
        return self.record.kinds[0] if self.record.kinds else "other"


@dataclass(frozen=True, slots=True)
class Card:
    """A sample as the page shows it; `pictures` may be fewer than the sample has, or none can be read."""

    question: Question
    prompt: str
    gold: str
    metric: str
    pictures: tuple[Picture, ...]
    outline: Outline | None

    @property
    def wide(self) -> bool:
        """Whether its texts need the whole width of the page."""
        texts = (self.prompt, self.gold, *(answer.text for answer in self.question.answers))
        return max(map(len, texts)) > _LONG_TEXT

    @property
    def graded(self) -> bool:
        """Whether any of its answers is partly right."""
        return any(answer.graded for answer in self.question.answers)


def make_gallery(run: RunFolder, layout: Layout, images: Images = Images.EMBED) -> list[Card]:
    """Return about `SIZE` samples: the same for the same logs, spread over question kinds and images.

    The answers are those of the first seed, with the image.

    Args:
        run: the run.
        layout: its order of methods.
        images: where the images are put; those in the page are made small enough for it.
    """
    backbones = [name for name in layout.backbones if any(log.header.backbone == name for log in run.logs)]
    chosen = []
    for number, name in enumerate(backbones):
        share = SIZE * (number + 1) // len(backbones) - SIZE * number // len(backbones)
        chosen += choose(list(_questions(run.logs, layout, name)), share)
    return [_card(q, run, own) for q, own in zip(chosen, _pictures(chosen, run, images), strict=True)]


def _pictures(questions: Sequence[Question], run: RunFolder, images: Images) -> Iterator[list[Picture]]:
    paths = [[run.path / name for name in question.record.images[:_MOST_IMAGES]] for question in questions]
    if images is Images.NONE:
        yield from ([] for _ in questions)
    elif images is Images.BESIDE:
        place = beside_page(run.path)
        for own in paths:
            yield [picture(copy, place) for path in own if (copy := read_copy(path))]
    else:
        for copies in read_copies(paths):
            yield [picture(copy, in_page) for copy in copies]


def _questions(logs: Sequence[EvaluationLog], layout: Layout, backbone: str) -> Iterator[Question]:
    own = [
        log
        for log in logs
        if log.header.backbone == backbone != NO_BACKBONE and log.header.condition == "normal"
    ]
    seed = min(log.header.seed for log in own)
    for task in dict.fromkeys(figure.task for figure in layout.headline):
        metrics = list(dict.fromkeys(figure.metric for figure in layout.headline if figure.task == task))
        asked = {log.header.method: log for log in own if log.header.task == task and log.header.seed == seed}
        records = {
            method: {record.id: record for record in asked[method].records}
            for method in layout.methods
            if method in asked
        }
        if records:
            yield from _of_task(records, metrics, backbone, task)


def _of_task(
    records: Mapping[str, Mapping[str, Record]], metrics: Sequence[str], backbone: str, task: str
) -> Iterator[Question]:
    first = next(iter(records.values()))
    for name, record in sorted(first.items()):
        everyone = {method: own[name] for method, own in records.items() if name in own}
        metric = next((m for m in metrics if all(m in r.scores for r in everyone.values())), None)
        if metric and len(everyone) == len(records):
            answers = tuple(_answer(method, own, metric) for method, own in everyone.items())
            yield Question(record, backbone, task, metric, answers, _group(answers))


def _answer(method: str, record: Record, metric: str) -> Answer:
    wrong = wrong_answer(record) if record.scores[metric] < 1 else None
    errors = rules(*wrong) if wrong else ()
    return Answer(method, _clipped(record.prediction), record.scores[metric], errors)


def _group(answers: Sequence[Answer]) -> Group:
    rights = {answer.method: answer.right for answer in answers}
    if len(set(rights.values())) == 1:
        return Group.RIGHT if answers[0].right else Group.WRONG
    # Without the starting point, the first control stands for it.
    return Group.REGRESSION if rights.get(START, answers[0].right) else Group.GAIN


def choose(questions: Sequence[Question], count: int) -> list[Question]:
    """Return up to `count` questions, by group in fixed shares, as evenly over kinds and images as can be."""
    waiting = {group: _spread([q for q in questions if q.group is group]) for group in Group}
    chosen: list[Question] = []
    shown: set[str] = set()
    for group, share in _SHARES.items():
        _take(waiting[group], round(share * count / sum(_SHARES.values())), chosen, shown)
    for group in Group:
        _take(waiting[group], count - len(chosen), chosen, shown)
    order = list(Group)
    return sorted(chosen[:count], key=lambda question: order.index(question.group))


def _take(waiting: list[Question], count: int, chosen: list[Question], shown: set[str]) -> None:
    """Move `count` questions from `waiting` to `chosen`, new images before those already shown."""
    for _ in range(min(count, len(waiting))):
        number = next((i for i, q in enumerate(waiting) if q.record.cluster not in shown), 0)
        question = waiting.pop(number)
        shown.add(question.record.cluster)
        chosen.append(question)


def _spread(questions: Sequence[Question]) -> list[Question]:
    """Order one group's questions so that kinds take turns; hashes, which favour none, say who is first."""
    by_kind: dict[tuple[str, str], list[Question]] = defaultdict(list)
    for question in sorted(questions, key=lambda q: content_hash(q.task, q.record.id)):
        by_kind[question.task, question.kind].append(question)
    order = sorted(by_kind, key=lambda kind: content_hash(*kind, by_kind[kind][0].group.name))
    turns = zip_longest(*(by_kind[kind] for kind in order))
    return [question for turn in turns for question in turn if question]


def _card(question: Question, run: RunFolder, pictures: Sequence[Picture]) -> Card:
    record = question.record
    # A region belongs to the only image; which of several it would outline is not known.
    outlined = record.region if pictures and len(record.images) == 1 else None
    outline = read_outline(run.path / outlined) if outlined else None
    return Card(
        question=question,
        prompt=_clipped(record.prompt.replace("<image>", "").strip()),
        gold=_clipped(record.gold),
        metric=in_sentence(metric_name(question.metric)),
        pictures=tuple(pictures),
        outline=outline,
    )


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
