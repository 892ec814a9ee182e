"""What a study would cost: the records that a dry run fills in."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from medpref.study.dry.memory import Memory
from medpref.study.dry.passes import Pass

if TYPE_CHECKING:
    from medpref.study.dry.judging import JudgePlan
    from medpref.study.dry.resources import Disk


class RunCost(NamedTuple):
    """What a run costs: its tokens, padding included, and its floating-point operations."""

    tokens: float
    flops: float


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What one training, one reference pass, or asking a model the test under one condition costs.

    Attributes:
        name: the method, the pair set of the reference pass, or the condition.
        work: ``train``, ``reference``, ``answers`` or ``likelihood``.
        backbone: the backbone's name in the study.
        runs: how many there are of it: candidates of equal cost, methods that are asked, and seeds.
        steps: optimizer steps; for a reference and for likelihoods forward passes, for answers batches.
        pairs: of one step; questions of the test.
        step: what one step is made of, all its forward passes together.
        cached_images: images that the tower is run on in a step, with features kept; mean over the run.
        flops: of one step, backward pass included, with features kept.
        flops_uncached: the same without.
        memory: at the peak, in bytes.
    """

    name: str
    work: str
    backbone: str
    runs: int
    steps: int
    pairs: float
    step: Pass
    cached_images: float
    flops: float
    flops_uncached: float
    memory: Memory

    @property
    def run(self) -> RunCost:
        """What one run costs, all its steps together."""
        return RunCost(self.step.tokens * self.steps, self.flops * self.steps)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in ("step", "memory")}
        return {
            **plain,
            **self.step._asdict(),
            "memory": {**self.memory._asdict(), "total": self.memory.total},
            "run": self.run._asdict(),
        }


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """What a study costs.

    Attributes:
        study: its name.
        stages: trainings, reference passes, and what is asked of the models that come of them.
        notes: where figures come from a sample or a stand-in.
        disk: what models and checkpoints take, or None where nothing is trained.
        judging: what is asked of endpoints to score answers.
    """

    study: str
    stages: tuple[StagePlan, ...]
    notes: tuple[str, ...]
    disk: "Disk | None" = None
    judging: "tuple[JudgePlan, ...]" = ()

    def total(self, figure: Literal["tokens", "flops"], work: str | None = None) -> float:
        """Sum up a run's cost over all runs, of all stages or of one kind of `work`."""
        chosen = [stage for stage in self.stages if work in (None, stage.work)]
        return sum(float(stage.run._asdict()[figure]) * stage.runs for stage in chosen)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        totals = {
            "steps": sum(stage.steps * stage.runs for stage in self.stages if stage.work == "train"),
            "tokens": self.total("tokens", "train"),
            "reference_tokens": self.total("tokens", "reference"),
            "answer_tokens": self.total("tokens", "answers"),
            "likelihood_tokens": self.total("tokens", "likelihood"),
            "flops": self.total("flops"),
        }
        stages = [stage.to_json() for stage in self.stages]
        disk = {**self.disk._asdict(), "total": self.disk.total} if self.disk else None
        return {
            "study": self.study,
            "notes": list(self.notes),
            "stages": stages,
            "totals": totals,
            "disk": disk,
            "judging": [plan.to_json() for plan in self.judging],
        }
