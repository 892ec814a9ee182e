"""Ask a model a task's questions, and put its scored answers into a log."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medpref.backbones.base import Backbone
from medpref.backbones.sampling import Sampling
from medpref.errors import InputError
from medpref.evaluation.baselines import BASELINES, Answered
from medpref.evaluation.likelihood import NOTHING, ChoiceScores, likelihood_scores
from medpref.evaluation.log import EvaluationLog, LogHeader, Record
from medpref.evaluation.tasks.base import Task
from medpref.files import relative_to
from medpref.generation.engine import Engine
from medpref.generation.local import LocalEngine
from medpref.generation.question import Question
from medpref.generation.run import Advance, Outcome, generate_answers
from medpref.pairs.sample import Sample
from medpref.scoring.inputs import InputCache


def predict(
    backbone: Backbone,
    samples: Sequence[Sample],
    path: Path,
    *,
    max_new_tokens: int,
    batch: int,
    blank: bool = False,
    inputs: InputCache | None = None,
    fingerprint: str | None = None,
    advance: Advance = lambda _: None,
) -> list[str]:
    """Answer all samples greedily, writing answers to `path` as they come.

    A run that was killed and started again gives the same answers as one that was not. What `path` holds of
    another model or other samples is replaced.

    Args:
        backbone: the model.
        samples: what is asked.
        path: see `medpref.generation.run.generate_answers`.
        max_new_tokens: the longest answer.
        batch: questions answered at a time.
        blank: show a uniform image in the images' mean colour instead of the image.
        inputs: token ids and pixels, kept between calls.
        fingerprint: the model's, where it is known: hashing all weights takes a while.
        advance: called with the number of answers done.

    Raises:
        InputError: a sample cannot be asked: an image is missing, or the prompt is too long.
    """
    engine = LocalEngine(backbone, batch=batch, inputs=inputs, blank=blank, fingerprint=fingerprint)
    outcome = ask(engine, samples, path, max_new_tokens, advance)
    if outcome.failures:
        first = outcome.failures[0]
        raise InputError(
            f"{len(outcome.failures)} of {len(samples)} samples cannot be asked; the first: {first.reason}",
            where=first.id,
        )
    return [outcome.answers[sample.id].text for sample in samples]


def ask(
    engine: Engine,
    samples: Sequence[Sample],
    path: Path,
    max_new_tokens: int,
    advance: Advance = lambda _: None,
) -> Outcome:
    """Answer all samples that can be asked, greedily; arguments as for `predict`.

    Returns:
        The answers by id, and those that cannot be asked with the reason.
    """
    questions = [Question(sample.id, sample.prompt, sample.images, sample.history) for sample in samples]
    sampling = Sampling(max_new_tokens=max_new_tokens)
    return generate_answers(engine, questions, path, sampling, advance=advance, replace=True)


def log_baseline(
    name: str, about: LogHeader, task: Task, train: Sequence[Sample], samples: Sequence[Sample], root: Path
) -> EvaluationLog:
    """Return the log of a baseline that is fitted to `train`; `about` tells study, task and split."""
    answer = BASELINES[name](Answered(s.kinds, s.closed, s.gold) for s in train)
    header = replace(about, backbone="none", method=f"baseline:{name}", seed=0, model=None, decoding={})
    return make_log(header, task, samples, [answer(s.kinds, s.closed) for s in samples], root)


def make_log(
    header: LogHeader,
    task: Task,
    samples: Sequence[Sample],
    answers: Sequence[str],
    root: Path,
    choices: Sequence[ChoiceScores] | None = None,
) -> EvaluationLog:
    """Score answers and put everything about them into a log, image files relative to `root`.

    Where `choices` are given, in step with the samples, the scores of closed answers by likelihood stand
    beside those of the generated ones.
    """
    records = []
    likely = choices if choices is not None else [NOTHING] * len(samples)
    for sample, answer, choice in zip(samples, answers, likely, strict=True):
        scored = task.score(sample, answer)
        records.append(
            Record(
                id=sample.id,
                prompt=sample.prompt,
                images=tuple(relative_to(path, root) for path in sample.images),
                cluster=sample.cluster,
                prediction=answer,
                gold=sample.gold,
                kinds=sample.kinds,
                closed=sample.closed,
                scores={**scored.scores, **likelihood_scores(sample.gold, choice)},
                unscored=scored.unscored,
                region=relative_to(sample.region, root) if sample.region else None,
                choice_logps=dict(choice.logps),
                attributes=dict(sample.attributes),
            )
        )
    return EvaluationLog(header, tuple(records))
