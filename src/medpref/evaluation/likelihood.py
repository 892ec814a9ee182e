"""Closed questions by likelihood: how probable each answer that a question allows is, given image and prompt.

Nothing is generated, so nothing has to be read: every question gets an answer. Image and prompt are computed
once for all its answers, and the image once for all questions on it that stand in one batch.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from medpref.backbones.base import Backbone
from medpref.backbones.sampling import Sampling
from medpref.errors import InputError
from medpref.evaluation.likelihood_engine import BATCH_TOKENS, ChoiceScores, LikelihoodEngine
from medpref.evaluation.scores.closed import gold_polarity
from medpref.evaluation.scores.text import normalise
from medpref.generation.question import Question
from medpref.generation.run import Advance, generate_answers
from medpref.pairs.sample import Sample
from medpref.scoring.inputs import InputCache

__all__ = ["NOTHING", "ChoiceScores", "likelihood_scores", "predict_choices", "spellings"]

# Data sets write either; both are the same answer, and their probabilities add up.
YES_NO: Mapping[str, tuple[str, ...]] = {"yes": ("yes", "Yes"), "no": ("no", "No")}

NOTHING = ChoiceScores({}, {})
"""The scores of a question whose answers are not a known, closed set."""


def spellings(sample: Sample) -> Mapping[str, tuple[str, ...]]:
    """Return the answers that a sample allows, each with the texts that stand for it.

    These are the sample's choices as they are written, or yes and no, in lower case or capitalised, for a
    closed question that is answered by them. Empty for any other question, and for fewer than two choices.
    """
    if len(sample.choices) > 1:
        return {choice: (choice,) for choice in sample.choices}
    return YES_NO if sample.closed and gold_polarity(sample.gold) is not None else {}


def predict_choices(
    backbone: Backbone,
    samples: Sequence[Sample],
    path: Path,
    *,
    blank: bool = False,
    inputs: InputCache | None = None,
    fingerprint: str | None = None,
    batch_tokens: int = BATCH_TOKENS,
    shared: bool = True,
    advance: Advance = lambda _: None,
) -> list[ChoiceScores]:
    """Score the allowed answers of all samples, writing them to `path` as they come.

    A run that was killed and started again gives the same numbers as one that was not. What `path` holds of
    another model, other samples or other answers is replaced.

    Args:
        backbone: the model.
        samples: what is asked; those without a known closed set of answers are passed over.
        path: see `medpref.generation.run.generate_answers`. Not written where there is nothing to score.
        blank: show a uniform image in the images' mean colour instead of the image.
        inputs: token ids and pixels, kept between calls.
        fingerprint: the model's, where it is known: hashing all weights takes a while.
        batch_tokens: the most tokens of rows, padding included, that are scored at a time.
        shared: compute image and prompt once for all answers; off, once for each.
        advance: called with the number of samples scored.

    Returns:
        The scores of each sample; `NOTHING` for those passed over.

    Raises:
        InputError: a sample cannot be asked: an image is missing, or prompt and answer are too long.
    """
    allowed = {sample.id: own for sample in samples if (own := spellings(sample))}
    if not allowed:
        return [NOTHING] * len(samples)
    engine = LikelihoodEngine(
        backbone,
        allowed,
        inputs=inputs,
        blank=blank,
        fingerprint=fingerprint,
        batch_tokens=batch_tokens,
        shared=shared,
    )
    questions = [
        Question(sample.id, sample.prompt, sample.images, sample.history)
        for sample in samples
        if sample.id in allowed
    ]
    # Nothing is drawn; the longest answer stands for no limit.
    outcome = generate_answers(engine, questions, path, Sampling(), advance=advance, replace=True)
    if outcome.failures:
        first = outcome.failures[0]
        raise InputError(
            f"{len(outcome.failures)} of {len(questions)} samples cannot be scored: {first.reason}",
            where=first.id,
        )
    return [
        ChoiceScores(**json.loads(outcome.answers[sample.id].text)) if sample.id in allowed else NOTHING
        for sample in samples
    ]


def likelihood_scores(gold: str, made: ChoiceScores) -> dict[str, float]:
    """Return the scores of one closed question under the names that logs use.

    - ``likelihood_accuracy``: 1 where the right answer is likelier than every other, else 0; a tie is 0
    - ``likelihood_accuracy_per_token``: the same by log-probs divided by the number of tokens, which long
      answers lose less by
    - ``likelihood_margin``: log-prob of the right answer less that of the likeliest other, in nats

    Empty where no answer was scored, or the reference is none of them.
    """
    right = next((answer for answer in made.logps if normalise(answer) == normalise(gold)), None)
    if right is None:
        return {}
    margin = _margin(made.logps, right)
    return {
        "likelihood_accuracy": float(margin > 0),
        "likelihood_accuracy_per_token": float(_margin(made.per_token, right) > 0),
        "likelihood_margin": margin,
    }


def _margin(values: Mapping[str, float], right: str) -> float:
    return values[right] - max(value for answer, value in values.items() if answer != right)
