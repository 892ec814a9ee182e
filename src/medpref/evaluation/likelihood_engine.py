"""Scores given answers to questions, many at a time: the engine of `medpref.evaluation.likelihood`."""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch

from medpref.backbones.base import Backbone, move_images
from medpref.backbones.sampling import Sampling
from medpref.backbones.templates import fit
from medpref.errors import InputError
from medpref.files import content_hash
from medpref.generation.engine import Engine
from medpref.generation.question import Answer, Failure, Question
from medpref.scoring.features import evaluating
from medpref.scoring.inputs import InputCache
from medpref.scoring.module import ScoringModel
from medpref.scoring.plan import Path as TokenPath
from medpref.scoring.plan import make_plan

BATCH_TOKENS = 8192
"""The most tokens of rows, padding included, that a batch has unless a single row has more."""
ROW_TOKENS = 2048
"""The most tokens that a row has of questions on the same images: attention is quadratic in them."""


class ChoiceScores(NamedTuple):
    """How likely the answers are that one question allows.

    Attributes:
        logps: log-prob of each answer in nats: the sum over its tokens, the end token included.
        per_token: the same divided by the number of tokens; of two spellings, the larger.
    """

    logps: dict[str, float]
    per_token: dict[str, float]


class _Part(NamedTuple):
    """Questions that are scored together: at most so many tokens in each of so many rows."""

    length: int
    rows: int
    questions: list[Question]


def _cut(row: Sequence[tuple[int, Question]], common: int) -> Iterator[_Part]:
    """Cut the questions of one row, given by ascending length, where it becomes too long."""
    part: list[Question] = []
    length = common
    for own, question in row:
        if part and length + own > max(ROW_TOKENS, common):
            yield _Part(length, 1, part)
            part, length = [], common
        part.append(question)
        length += own
    yield _Part(length, 1, part)


class LikelihoodEngine(Engine):
    """Gives, for each question, the log-probs of its allowed answers; an answer's text is their JSON.

    Args:
        backbone: the model; it scores in evaluation mode.
        allowed: the answers of each question by its id, with their spellings; `spellings` returns them.
        inputs: token ids and pixels, kept between calls.
        blank: show a uniform image in the images' mean colour instead of each image.
        fingerprint: the model's, where it is known: hashing all weights takes a while.
        batch_tokens: the most tokens of rows in a batch.
        shared: let answers and questions on the same images share a row; off, each answer is a row of its
            own. Both give the same numbers.
    """

    def __init__(
        self,
        backbone: Backbone,
        allowed: Mapping[str, Mapping[str, tuple[str, ...]]],
        *,
        inputs: InputCache | None = None,
        blank: bool = False,
        fingerprint: str | None = None,
        batch_tokens: int = BATCH_TOKENS,
        shared: bool = True,
    ) -> None:
        self.backbone = backbone
        self._allowed = allowed
        self._inputs = inputs or InputCache(backbone)
        self._blank = blank
        self._fingerprint = fingerprint
        self._batch_tokens = batch_tokens
        self._shared = shared and backbone.shares_prefix
        self._model = ScoringModel(backbone)
        self._responses: dict[str, tuple[int, ...]] = {}

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The model's fingerprint, what it may answer, and whether it sees the images."""
        model = self._fingerprint or self.backbone.fingerprint()
        allowed = {ident: [list(texts) for texts in own.values()] for ident, own in self._allowed.items()}
        return {
            "engine": "likelihood",
            "model": model,
            "blank": self._blank,
            "allowed": content_hash(allowed),
        }

    def groups(self, questions: Sequence[Question]) -> list[Sequence[Question]]:
        """Return the batches: rows of about one length, questions on the same images in one row."""
        # Everything is put in ascending order, and a batch holds one sort of rows: what did not fit into a
        # batch is followed by nothing that would, so that some of the batches are cut as all of them are.
        parts = sorted(
            (part for row in self._rows(questions) for part in row),
            key=lambda part: (part.rows, part.length, part.questions[0].images, part.questions[0].id),
        )
        batches: list[list[Question]] = []
        count = rows = 0
        for part in parts:
            if part.rows != rows or (count + part.rows) * part.length > self._batch_tokens:
                batches.append([])
                count, rows = 0, part.rows
            batches[-1].extend(part.questions)
            count += part.rows
        return list(batches)

    def _rows(self, questions: Sequence[Question]) -> Iterator[Iterator[_Part]]:
        """Yield the parts of each row, and of rows that are not shared, each question's as a part."""
        rows: dict[tuple[tuple[Path, ...], tuple[int, ...]], list[tuple[int, Question]]] = defaultdict(list)
        for question in questions:
            common, lengths = self._lengths(question)
            if self._shared:
                rows[question.images, common].append((sum(lengths), question))
            else:
                whole = len(common) + max(lengths, default=0)
                yield iter([_Part(whole, max(1, len(lengths)), [question])])
        for (_, common), own in rows.items():
            ordered = sorted(own, key=lambda entry: (entry[0], entry[1].id))
            yield _cut(ordered, len(common))

    def _lengths(self, question: Question) -> tuple[tuple[int, ...], list[int]]:
        """Return the ids that a question has in common with others on its images, and the tokens behind them.

        The latter are those of each answer, the rest of the prompt among them; none where the question cannot
        be asked.
        """
        try:
            prompt = self._inputs.prompt_ids(question.prompt, question.images, question.history)
        except InputError:
            return (), []
        image = self._inputs.image_token
        end = len(prompt) - prompt[::-1].index(image) if image in prompt else len(prompt)
        texts = [text for own in self._allowed[question.id].values() for text in own]
        rest = len(prompt) - end
        return prompt[:end], [rest + len(self._response(text)) for text in texts]

    def _response(self, text: str) -> tuple[int, ...]:
        if text not in self._responses:
            self._responses[text] = tuple(self.backbone.response_ids(text))
        return self._responses[text]

    def answer(self, questions: Sequence[Question], sampling: Sampling) -> Iterator[Answer | Failure]:
        """Yield the log-probs batch by batch; a question that cannot be shown, or does not fit, fails."""
        for group in self.groups(questions):
            yield from self._answer(group)

    def _answer(self, group: Sequence[Question]) -> Iterator[Answer | Failure]:
        numbers: dict[Path, int] = {}
        paths: list[TokenPath] = []
        asked: list[Question] = []
        for question in group:
            try:
                self._inputs.images(question.images)  # an image that cannot be read is one question's fault
                own = self.paths(question, numbers)
            except InputError as error:
                yield Failure(question.id, " ".join(str(error).split()))
                continue
            paths += own
            asked.append(question)
        if not asked:
            return
        scored = iter(self._score(paths, list(numbers)))
        for question in asked:
            made = _combine(self._allowed[question.id], scored)
            yield Answer(question.id, json.dumps(made._asdict(), ensure_ascii=False), "stop")

    def paths(self, question: Question, numbers: dict[Path, int]) -> list[TokenPath]:
        """Return the token paths of a question's answers, one for each spelling.

        Args:
            question: one of those whose answers are known.
            numbers: the images' numbers; those of the question are added.

        Raises:
            InputError: the question is faulty or does not fit the context, or an image is missing.
        """
        if question.fault:
            raise InputError(question.fault)
        prompt = self._inputs.prompt_ids(question.prompt, question.images, question.history)
        responses = [self._response(text) for own in self._allowed[question.id].values() for text in own]
        for response in responses:
            fit(len(prompt), len(response), self.backbone.max_length, question.id)
        places = tuple(numbers.setdefault(path, len(numbers)) for path in question.images)
        return [TokenPath(places, prompt, response) for response in responses]

    def _score(self, paths: Sequence[TokenPath], images: Sequence[Path]) -> list[tuple[float, int]]:
        """Return the log-prob in nats and the number of tokens of each path's response."""
        backbone = self.backbone
        plan = make_plan(
            paths, image_token=self._inputs.image_token, pad=self._inputs.pad, shared=self._shared
        ).to(backbone.device)
        read = self._inputs.images(images)
        shown = [backbone.blank(image) for image in read] if self._blank else read
        with torch.no_grad(), evaluating(backbone.model):
            tokens = self._model(plan, move_images(shown, backbone.device))
        lengths = torch.bincount(plan.owner)
        sums = torch.zeros(len(lengths), dtype=torch.float64, device=tokens.device)
        sums.index_add_(0, plan.owner, tokens.double())
        numbers = plan.paths
        return list(zip(sums[numbers].tolist(), lengths[numbers].tolist(), strict=True))


def _combine(allowed: Mapping[str, Sequence[str]], scored: Iterator[tuple[float, int]]) -> ChoiceScores:
    """Return the scores of one question's answers, taken from `scored` in their order."""
    logps: dict[str, float] = {}
    per_token: dict[str, float] = {}
    for answer, texts in allowed.items():
        own = [next(scored) for _ in texts]
        highest = max(logp for logp, _ in own)
        # Different texts cannot both be said: their probabilities add up.
        logps[answer] = highest + math.log(sum(math.exp(logp - highest) for logp, _ in own))
        per_token[answer] = max(logp / length for logp, length in own)
    return ChoiceScores(logps, per_token)
