"""How much of gradient × input lies in the region of interest: relevance mass accuracy.

Of all that the map holds on the image, the share inside the region (Arras et al. 2022, arXiv:2003.07258). A
map that is spread evenly has the region's share of the area there.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from medpref.backbones.base import Backbone
from medpref.backbones.sampling import Sampling
from medpref.backbones.templates import fit
from medpref.errors import InputError
from medpref.evaluation.conditions.noised import has_region
from medpref.evaluation.log import EvaluationLog
from medpref.files import cached_file_hash, content_hash
from medpref.generation.engine import Engine
from medpref.generation.question import Answer, Failure, Question
from medpref.generation.run import Advance, generate_answers
from medpref.pairs.regions import read_mask
from medpref.pairs.sample import Sample
from medpref.scoring.inputs import InputCache
from medpref.scoring.saliency import gradient_times_input, on_image

MASS = "region_mass"
"""The share of gradient × input inside the region."""
AREA = "region_area"
"""The region's share of the image's area: what `MASS` is where the map is spread evenly."""


class Attribution(NamedTuple):
    """How much of a map lies in the region, and how large the region is; shares in [0, 1]."""

    mass: float
    area: float


def attributable(samples: Sequence[Sample], most: int | None = None) -> list[Sample]:
    """Return the samples with one image, of which a region is a part: `most` of them, drawn by their ids.

    Raises:
        InputError: a file cannot be read, or a region has another size than its image.
    """
    known = {(s.images, s.region): s for s in samples}
    seen = {key: has_region(sample) for key, sample in known.items()}
    found = [sample for sample in samples if seen[sample.images, sample.region]]
    if most is None or len(found) <= most:
        return found
    drawn = {sample.id for sample in sorted(found, key=lambda sample: content_hash(sample.id))[:most]}
    return [sample for sample in found if sample.id in drawn]


class AttributionEngine(Engine):
    """Gives, for each sample, the `Attribution` of its right answer; an answer's text is its JSON.

    Args:
        backbone: the model.
        samples: those that are asked, from `attributable`.
        inputs: token ids and pixels, kept between calls.
        fingerprint: the model's, where it is known: hashing all weights takes a while.
    """

    def __init__(
        self,
        backbone: Backbone,
        samples: Sequence[Sample],
        *,
        inputs: InputCache | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self.backbone = backbone
        self._samples = {sample.id: sample for sample in samples}
        self._inputs = inputs or InputCache(backbone)
        self._fingerprint = fingerprint

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The model's fingerprint, the right answers and the regions."""
        asked = {
            ident: [sample.gold, cached_file_hash(sample.region) if sample.region else None]
            for ident, sample in self._samples.items()
        }
        model = self._fingerprint or self.backbone.fingerprint()
        return {"engine": "gradient × input", "model": model, "asked": content_hash(asked)}

    def answer(self, questions: Sequence[Question], sampling: Sampling) -> Iterator[Answer | Failure]:
        """Yield one sample after the other: a map must not depend on what stands beside it in a batch."""
        for question in questions:
            try:
                made = self._attribute(self._samples[question.id])
            except InputError as error:
                yield Failure(question.id, error.what)
                continue
            yield Answer(question.id, json.dumps(made._asdict()), "stop")

    def _attribute(self, sample: Sample) -> Attribution:
        if sample.region is None:
            raise InputError("there is no region of interest", where=sample.id)
        prompt = self._inputs.prompt_ids(sample.prompt, sample.images, sample.history)
        response = tuple(self.backbone.response_ids(sample.gold))
        fit(len(prompt), len(response), self.backbone.max_length, sample.id)
        (image,) = sample.images
        heat = gradient_times_input(self.backbone, self._inputs, image, prompt, response)
        placed = on_image(self.backbone, heat.numpy(), image)
        region = read_mask(sample.region, *placed.shape)
        whole = float(placed.sum())
        if not (math.isfinite(whole) and whole > 0):
            raise InputError("gradient × input is zero or not finite", where=sample.id)
        return Attribution(float(placed[region].sum()) / whole, float(region.mean()))


def attribute(
    backbone: Backbone,
    samples: Sequence[Sample],
    path: Path,
    *,
    inputs: InputCache | None = None,
    fingerprint: str | None = None,
    advance: Advance = lambda _: None,
) -> dict[str, Attribution | str]:
    """Return, for each sample by its id, how much of the map lies in the region, or why that is not known.

    A run that was killed and started again gives the same numbers as one that was not.

    Args:
        backbone: the model.
        samples: those that `attributable` returns.
        path: where the numbers are written as they come.
        inputs, fingerprint: as `AttributionEngine` has them.
        advance: called with the number of samples done.
    """
    engine = AttributionEngine(backbone, samples, inputs=inputs, fingerprint=fingerprint)
    questions = [Question(sample.id, sample.prompt, sample.images, sample.history) for sample in samples]
    # Nothing is drawn.
    outcome = generate_answers(engine, questions, path, Sampling(), advance=advance, replace=True)
    made = {ident: Attribution(**json.loads(answer.text)) for ident, answer in outcome.answers.items()}
    return {**made, **{failure.id: failure.reason for failure in outcome.failures}}


def with_attributions(log: EvaluationLog, made: Mapping[str, Attribution | str]) -> EvaluationLog:
    """Return a log with ``region_mass`` and ``region_area`` of the samples in `made`, or why one has none."""
    records = []
    for record in log.records:
        found = made.get(record.id)
        if isinstance(found, str):
            record = replace(record, unscored_metrics={**record.unscored_metrics, MASS: found})
        elif found is not None:
            record = replace(record, scores={**record.scores, MASS: found.mass, AREA: found.area})
        records.append(record)
    return EvaluationLog(log.header, tuple(records))
