"""Ask a model a task's samples under a condition, outside a study."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from medpref.backbones.base import Backbone
from medpref.evaluation.conditions import ConditionContext, conditions
from medpref.evaluation.evaluation import header, log_known
from medpref.evaluation.likelihood import predict_choices
from medpref.evaluation.log import EvaluationLog
from medpref.evaluation.predict import ask
from medpref.evaluation.tasks import Task
from medpref.generation.local import LocalEngine
from medpref.generation.question import Failure
from medpref.generation.run import Advance
from medpref.pairs.sample import Sample
from medpref.scoring.inputs import InputCache


class Asked(NamedTuple):
    """A log, and the samples that could not be asked: they are unscored."""

    log: EvaluationLog
    failures: Sequence[Failure]


@dataclass(frozen=True)
class ModelAsker:
    """A model that is asked a task.

    Attributes:
        backbone: the model.
        task: what is asked.
        name: what tables call the model.
        split: which split is asked.
        folder: of the evaluation; answers and logs go below it.
        batch: questions that are answered at a time.
        likelihood: also score closed answers by how likely the model finds them.
    """

    backbone: Backbone
    task: Task
    name: str
    split: str
    folder: Path
    batch: int
    likelihood: bool

    @cached_property
    def inputs(self) -> InputCache:
        """Token ids and pixels, kept between conditions."""
        return InputCache(self.backbone)

    @cached_property
    def fingerprint(self) -> str:
        """The model's."""
        return self.backbone.fingerprint()

    def shown(self, samples: Sequence[Sample], condition: str) -> list[Sample]:
        """Return the samples as a condition shows them."""
        return conditions[condition].show(samples, ConditionContext(self.folder / "shown" / condition))

    def place(self, condition: str, ending: str) -> Path:
        """Return one of the files of a condition."""
        return self.folder / "logs" / self.name / f"{self.task.name}.{condition}.{ending}.jsonl"

    def ask(self, samples: Sequence[Sample], condition: str, advance: Advance) -> Asked:
        """Ask what has no answer yet, score everything, and write the log.

        Args:
            samples: as the condition shows them.
            condition: its name.
            advance: called with the number of samples done.
        """
        blank = conditions[condition].blank
        engine = LocalEngine(
            self.backbone,
            batch=self.batch,
            inputs=self.inputs,
            blank=blank,
            fingerprint=self.fingerprint,
        )
        outcome = ask(
            engine, samples, self.place(condition, "predictions"), self.task.max_new_tokens, advance
        )
        choices = None
        if self.likelihood:
            choices = predict_choices(
                self.backbone,
                [sample for sample in samples if sample.id in outcome.answers],
                self.place(condition, "choices"),
                blank=blank,
                inputs=self.inputs,
                fingerprint=self.fingerprint,
            )
        log = log_known(
            self.task,
            header(
                self.task,
                self.folder,
                self.name,
                condition,
                self.split,
                model=self.fingerprint,
                decoding=self.task.decoding,
            ),
            samples,
            {ident: answer.text for ident, answer in outcome.answers.items()},
            self.folder,
            reasons={failure.id: failure.reason for failure in outcome.failures},
            choices=choices,
        )
        log.write(self.place(condition, "eval"))
        return Asked(log, outcome.failures)
