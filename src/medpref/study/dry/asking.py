"""What asking test questions takes: answers that are generated, and answers that are scored by likelihood."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from medpref.backbones.base import ImageTensors
from medpref.backbones.hf import HFBackbone
from medpref.backbones.stems import find_stems, stem_length
from medpref.evaluation.likelihood import spellings
from medpref.evaluation.likelihood_engine import LikelihoodEngine
from medpref.generation.local import LocalEngine
from medpref.generation.question import Question
from medpref.pairs.sample import Sample
from medpref.scoring.inputs import InputCache
from medpref.study.dry.passes import Pass, lay_out_paths
from medpref.study.dry.sizes import Load

ANSWERS, LIKELIHOOD = "answers", "likelihood"
OUTLINE = "outline"
"""Stands for the fingerprint of a model without weights."""


class AskedPass(NamedTuple):
    """One forward pass, or one batch of answers with all of its passes, and its questions."""

    made: Pass
    load: Load
    questions: int


def questions_of(samples: Sequence[Sample]) -> list[Question]:
    """Return the samples as they are asked."""
    return [Question(sample.id, sample.prompt, sample.images, sample.history) for sample in samples]


def answer_batches(
    backbone: HFBackbone, inputs: InputCache, samples: Sequence[Sample], batch: int
) -> list[Sequence[Question]]:
    """Return the batches in which samples are answered."""
    engine = LocalEngine(backbone, batch=batch, inputs=inputs, fingerprint=OUTLINE)
    return engine.groups(questions_of(samples))


def lay_out_answers(
    inputs: InputCache, questions: Sequence[Question], golds: Mapping[str, str], most: int
) -> AskedPass:
    """Return what answering one batch takes; every answer is taken to be as long as the reference.

    A batch goes on until its longest answer is done. What comes before the last image is read once for all
    questions on the same images, where the backbone can.

    Args:
        inputs: of the backbone.
        questions: of the batch.
        golds: the reference answers by id.
        most: the most tokens of an answer.

    Raises:
        InputError: an image is missing or is none.
    """
    backbone = inputs.backbone
    prompts = [inputs.prompt_ids(q.prompt, q.images, q.history) for q in questions]
    answers = [min(most, len(backbone.response_ids(golds[q.id]))) for q in questions]
    shown: dict[Path, ImageTensors] = {path: {} for q in questions for path in q.images}
    images = [[shown[path] for path in q.images] for q in questions]
    stems = find_stems(prompts, images, backbone.image_token) if backbone.shares_stems else None
    count, stem = (len(stems.stems), stem_length(prompts[0], backbone.image_token)) if stems else (0, 0)
    rows, longest, length = len(prompts), max(map(len, prompts)), max(answers)
    # The last token of an answer predicts nothing.
    rest = longest - stem + length - 1
    columns = count * stem + rows * rest
    visible = count * stem * (stem + 1) // 2 + rows * (rest * stem + rest * (rest + 1) // 2)
    padding = rows * (longest + length) - sum(map(len, prompts)) - sum(answers)
    made = Pass(rows, rows, columns, padding, rows * (longest + length - 1), len(shown))
    load = Load(columns, columns, rows * length, visible, visible, len(shown), len(shown))
    return AskedPass(made, load, rows)


class Likelihoods:
    """The allowed answers of samples, as the likelihood engine batches them.

    Args:
        backbone: the model, without its weights.
        inputs: of the backbone.
        samples: what is asked; those without a known closed set of answers are passed over.
    """

    def __init__(self, backbone: HFBackbone, inputs: InputCache, samples: Sequence[Sample]) -> None:
        allowed = {sample.id: own for sample in samples if (own := spellings(sample))}
        self._inputs = inputs
        self._shared = backbone.shares_prefix
        self._engine = LikelihoodEngine(backbone, allowed, inputs=inputs, fingerprint=OUTLINE)
        asked = questions_of([sample for sample in samples if sample.id in allowed])
        self.batches = self._engine.groups(asked) if asked else []

    def lay_out(self, questions: Sequence[Question]) -> AskedPass:
        """Return what the pass of one batch takes.

        Raises:
            InputError: a question does not fit the context, or an image is missing.
        """
        numbers: dict[Path, int] = {}
        paths = [path for question in questions for path in self._engine.paths(question, numbers)]
        return AskedPass(*lay_out_paths(self._inputs, paths, len(numbers), self._shared), len(questions))
