"""A model in this process."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from medpref.backbones import load_backbone
from medpref.backbones.base import Backbone, ImageTensors
from medpref.backbones.loading import LoadSettings
from medpref.backbones.sampling import Sampling
from medpref.backbones.stems import stem_length
from medpref.errors import InputError, RunError
from medpref.generation.engine import Engine, EngineKind, EngineSettings, engines
from medpref.generation.question import Answer, Failure, Finish, Question, question_seed
from medpref.scoring.features import evaluating
from medpref.scoring.inputs import InputCache


class LocalSettings(EngineSettings, LoadSettings):
    """How a folder is loaded and asked.

    Attributes:
        batch: questions that are answered together.
        device: where the model runs, such as ``cpu`` or ``cuda:1``; a GPU where there is one by default.
    """

    batch: int = Field(8, ge=1)
    device: str | None = None


class LocalEngine(Engine):
    """A backbone that answers in batches of questions of about one length.

    Args:
        backbone: the model; it answers in evaluation mode.
        batch: questions that are answered together.
        inputs: token ids and pixels, kept between calls.
        blank: show a uniform image in the images' mean colour instead of each image.
        fingerprint: the model's, where it is known: hashing all weights takes a while.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        batch: int,
        inputs: InputCache | None = None,
        blank: bool = False,
        fingerprint: str | None = None,
    ) -> None:
        self.backbone = backbone
        self._batch = batch
        self._inputs = inputs or InputCache(backbone)
        self._blank = blank
        self._fingerprint = fingerprint

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The model's fingerprint, and whether it sees the images."""
        model = self._fingerprint or self.backbone.fingerprint()
        return {"engine": "local", "model": model, "blank": self._blank}

    def groups(self, questions: Sequence[Question]) -> list[Sequence[Question]]:
        """Return the batches: by length, so that little is padded; by image first where it is read once."""
        order = sorted(questions, key=self._order)
        return [order[start : start + self._batch] for start in range(0, len(order), self._batch)]

    def answer(self, questions: Sequence[Question], sampling: Sampling) -> Iterator[Answer | Failure]:
        """Yield answers batch by batch; a question whose images cannot be read, or that is too long, fails.

        Raises:
            RunError: the device has too little memory for a batch.
        """
        for group in self.groups(questions):
            yield from self._answer(group, sampling)

    def _answer(self, group: Sequence[Question], sampling: Sampling) -> list[Answer | Failure]:
        made: list[Answer | Failure] = []
        asked: list[tuple[Question, Sequence[int], list[ImageTensors]]] = []
        shown: dict[Path, ImageTensors] = {}
        for question in group:
            try:
                asked.append((question, *self._read(question, shown)))
            except InputError as error:
                made.append(Failure(question.id, " ".join(str(error).split())))
        if not asked:
            return made
        questions, prompts, images = zip(*asked, strict=True)
        seeds = [question_seed(sampling, question) for question in questions]
        try:
            with evaluating(self.backbone.model):
                completions = self.backbone.complete(prompts, images, sampling, seeds)
        except torch.OutOfMemoryError:
            raise RunError(
                f"the device has too little memory for {len(asked)} questions at a time",
                remedy="Start again with a smaller --batch: what is answered is kept.",
            ) from None
        for question, completion in zip(questions, completions, strict=True):
            finish: Finish = "stop" if completion.stopped else "length"
            made.append(Answer(question.id, completion.text, finish, completion.tokens))
        return made

    def _read(
        self, question: Question, shown: dict[Path, ImageTensors]
    ) -> tuple[Sequence[int], list[ImageTensors]]:
        """Return the prompt's ids and the images; one file is one object within what is `shown` together.

        Raises:
            InputError: the question is faulty or leaves no room for an answer, or an image cannot be read.
        """
        if question.fault:
            raise InputError(question.fault)
        ids = self._inputs.prompt_ids(question.prompt, question.images, question.history)
        if len(ids) >= self.backbone.max_length:
            raise InputError(f"the prompt takes {len(ids)} tokens of the {self.backbone.max_length} that fit")
        for path in question.images:
            if path not in shown:
                image = self._inputs.image(path)
                shown[path] = self.backbone.blank(image) if self._blank else image
        return ids, [shown[path] for path in question.images]

    def _order(self, question: Question) -> tuple[int, tuple[Path, ...], int]:
        """Return what questions are batched by: the length that must be equal, the images, the length."""
        try:
            ids = self._inputs.prompt_ids(question.prompt, question.images, question.history)
        except InputError:
            return 0, question.images, 0
        stem = stem_length(ids, self.backbone.image_token) if self.backbone.shares_stems else 0
        return stem or len(ids), question.images, len(ids)


def build(model: str, settings: LocalSettings) -> LocalEngine:
    """Load the model in a folder onto its device.

    Raises:
        InputError: the folder holds no model that can be read, or there is no such device.
    """
    loading = settings.model_dump(include=set(LoadSettings.model_fields))
    backbone = load_backbone(Path(model).expanduser(), **loading)
    if settings.quantize is None:
        device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            backbone.model.to(device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"the model cannot be put on {device!r}: {reason}", where="device") from None
    return LocalEngine(backbone, batch=settings.batch)


engines.add("local", EngineKind("a model in a folder, run in this process", LocalSettings, build))
