"""A dry run: what a study would cost, from its real batches, without training and without weights.

Not counted: the start's own warm-up, and answers to validation questions.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, TypeVar

import torch

from medpref.backbones.base import Size
from medpref.backbones.hf import HFBackbone
from medpref.objectives import objectives
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.inputs import InputCache, number_images
from medpref.scoring.scorer import Scorer
from medpref.starts import backbones
from medpref.study.datasets import data_needs, training_texts
from medpref.study.dry.costs import StagePlan, StudyPlan
from medpref.study.dry.data import DryData, Sampled
from medpref.study.dry.evaluation import EvaluationPlanner
from medpref.study.dry.flops import forward_flops, training_flops
from medpref.study.dry.judging import plan_judging
from medpref.study.dry.measure import measure
from medpref.study.dry.memory import forward_memory, training_memory
from medpref.study.dry.outline import outlines, what_trains
from medpref.study.dry.passes import Asked, lay_out, mean_of, spread, times
from medpref.study.dry.resources import plan_disk
from medpref.study.dry.sizes import Load, Mode, Model
from medpref.study.executors import executors
from medpref.study.graph import build_graph
from medpref.study.spec import StudySpec
from medpref.study.stage import Stage
from medpref.study.stages.training import Fitting
from medpref.training.groups import PairGroups, count_groups, hold_out, row_lengths
from medpref.training.parts import TrainingPart
from medpref.training.reference import IMAGES_PER_BATCH, reference_batches
from medpref.training.sampler import BatchSize, Mixture, run_batches
from medpref.training.settings import TrainingSettings

T = TypeVar("T")
SAMPLE_IMAGES = 256
"""The most images of train and of the pool that a plan looks at."""
LAID_OUT = 16
"""The most forward passes of a stage that are laid out; figures are means over them."""
MEASURED_IMAGES = 32
"""The most images whose sizes decide how many tokens an image takes on average."""
# Training settings that change what is learnt but not what a step costs.
FREE = {"learning_rate", "schedule", "tower_factor", "warmup_share", "weight_decay", "max_grad_norm"}


def plan_study(study: StudySpec, *, sample: int = SAMPLE_IMAGES, laid_out: int = LAID_OUT) -> StudyPlan:
    """Work out what trainings and reference passes of a study would cost, and asking the test.

    Args:
        study: the study.
        sample: the most images of train and of the pool that are looked at.
        laid_out: the most forward passes of a stage that are laid out.

    Raises:
        InputError: the data or a model's configuration cannot be read, a recipe cannot be applied, or a
            pair does not fit a backbone's context and the study calls that fatal.
    """
    stages = build_graph(study, threads=1)
    with _one_thread(), tempfile.TemporaryDirectory(prefix="medpref-plan-") as folder:
        first = data_needs(study.data, study.searched()[0])
        names = dict.fromkeys(name for needs in first.values() for name in needs.values())
        data = DryData({name: stages[name].params for name in names}, Path(folder), sample)
        planner = _Planner(study, stages, data, laid_out)
        found = planner.plan()
        models = sum(1 for stage in stages.values() if stage.work == "evaluate")
        judging = tuple(plan_judging(study, data, models))
    disk = plan_disk(found, len(study.seeds), _side_by_side(study))
    return StudyPlan(study.study, tuple(found), (*data.notes, *planner.notes), disk, judging)


def _side_by_side(study: StudySpec) -> int:
    """Return how many trainings run at a time."""
    settings = executors[study.executor.on].settings.model_validate(study.executor.settings)
    return getattr(settings, "jobs", None) or study.workers or min(os.cpu_count() or 1, 2)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for tables this small, several only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Planner:
    """Plans the stages of one graph; seeds after the first cost what the first does."""

    def __init__(self, study: StudySpec, stages: Mapping[str, Stage], data: DryData, laid_out: int) -> None:
        self.notes: dict[str, None] = {}
        self._study, self._stages, self._data, self._laid_out = study, stages, data, laid_out
        self._stored: dict[str, set[bytes]] = {}
        self._outlines: dict[str, tuple[HFBackbone, InputCache, Model]] = {}

    def plan(self) -> list[StagePlan]:
        """Plan everything, in the order of the graph."""
        found: list[StagePlan] = []
        for stage in self._stages.values():
            if stage.params.get("seed") != self._study.searched()[0]:
                continue
            if stage.work == "reference":
                found += self._reference(stage)
            elif stage.work == "evaluate":
                found += self._method(stage)
        return found + self._evaluations()

    def _evaluations(self) -> list[StagePlan]:
        """Plan what the test asks of each backbone: every method costs the same."""
        asked: dict[str, list[Stage]] = {}
        for stage in self._stages.values():
            if stage.work == "evaluate":
                asked.setdefault(stage.params["backbone"], []).append(stage)
        found: list[StagePlan] = []
        for backbone, stages in asked.items():
            outline = self._outline(self._stages[stages[0].needs["candidate-0"]])
            planner = EvaluationPlanner(
                outline, self._data, stages[0].params, backbone, len(stages), self._choose
            )
            found += planner.plan()
        return found

    def _method(self, evaluation: Stage) -> list[StagePlan]:
        """Plan a method's candidates, those of equal cost together."""
        alike: dict[str, list[Stage]] = {}
        for role, name in evaluation.needs.items():
            stage = self._stages[name]
            if role.startswith("candidate-") and stage.work == "train":
                alike.setdefault(_cost_key(stage), []).append(stage)
        method = evaluation.params["method"]
        planned = []
        for number, candidates in enumerate(alike.values()):
            name = method if len(alike) == 1 else f"{method} ({number + 1})"
            runs = len(candidates) * len(self._study.searched())
            if number == 0:
                # Which candidate the other seeds train is not known yet.
                runs += len(self._study.seeds) - len(self._study.searched())
            planned.append(self._training(name, candidates[0], runs))
        return planned

    def _training(self, name: str, stage: Stage, runs: int) -> StagePlan:
        settings = TrainingSettings.model_validate(stage.params["training"])
        backbone, inputs, model = self._outline(stage)
        chunk: dict[str, Any] = {"head_chunk": settings.head_chunk} if settings.head_chunk else {}
        scorer = Scorer(backbone, inputs, precision=settings.precision, **chunk)
        parts, factor = self._parts(stage, inputs)
        groups = count_groups(parts, settings, stage.params["seed"])
        whole = settings.counted(round(factor * groups)).steps
        # No more passes are drawn than the sample has: the rest are like them.
        settings = settings.counted(groups)
        drawn = _draw(parts, settings, scorer, stage.params["seed"])
        chosen = self._choose(drawn, name)
        laid = [lay_out(scorer, each.asked) for each in chosen]
        load = mean_of([load for _, load in laid])
        mode = Mode(
            settings.precision,
            settings.gradient_checkpointing,
            scorer.model.head_chunk,
            settings.recompute,
        )
        trained, trained_bytes = what_trains(backbone, settings)
        frozen = not (trained.tower or trained.adapters.tower)
        encoded = _first_seen(drawn, factor) if frozen else load.images
        aside = settings.reference == "adapters-off" and any(p.objective.needs_reference for p in parts)

        def flops(load: Load) -> float:
            reference = forward_flops(model, load).total if aside else 0.0
            return training_flops(model, load, trained, mode).total + reference

        passes = settings.accumulate
        return StagePlan(
            name=name,
            work="train",
            backbone=stage.params["backbone"],
            runs=runs,
            steps=whole,
            pairs=passes * fmean(each.pairs for each in chosen),
            step=times(mean_of([made for made, _ in laid]), passes),
            cached_images=passes * encoded,
            flops=passes * flops(load._replace(encoded=encoded)),
            flops_uncached=passes * flops(load),
            memory=max(
                (training_memory(model, load, trained, trained_bytes, mode) for _, load in laid),
                key=lambda memory: memory.total,
            ),
        )

    def _reference(self, stage: Stage) -> list[StagePlan]:
        """Plan a reference pass; there is none where earlier passes have stored all of it."""
        name = f"reference {stage.name.rsplit('/', 1)[-1]}"
        backbone, inputs, model = self._outline(stage)
        scorer = Scorer(backbone, inputs, precision=stage.params["precision"])
        found = self._data.pair_set(self._stages[stage.needs["pairs"]])
        pairs = self._fitting(stage, found, inputs)
        cells = [cell for cell in Cell if cell.key in stage.params["cells"]]
        stored = self._stored.setdefault(stage.needs["model"], set())
        # Passes hold rows of like length. As the whole's do, a pass takes the same share of the sample.
        rows = max(1, round(IMAGES_PER_BATCH / found.factor))
        batches = reference_batches(scorer, pairs, cells, stored, images_per_batch=rows)
        stored.update(entry.key for batch in batches for entry in batch)
        if not batches:
            self.notes[f"{name}: earlier passes have scored all of it"] = None
            return []
        # All of few passes; of many, the last one is smaller and would count for too much.
        whole = batches if len(batches) <= self._laid_out else batches[:-1]
        chosen = self._choose(whole, name)
        laid = [lay_out(scorer, [(entry.pair, entry.cell) for entry in batch]) for batch in chosen]
        laid = [(times(made, found.factor), times(load, found.factor)) for made, load in laid]
        load, mode = mean_of([load for _, load in laid]), Mode(stage.params["precision"])
        flops = forward_flops(model, load).total
        return [
            StagePlan(
                name=name,
                work="reference",
                backbone=stage.params["backbone"],
                runs=len(self._study.seeds),
                steps=len(batches),
                pairs=found.factor * fmean(len({entry.pair.id for entry in batch}) for batch in chosen),
                step=mean_of([made for made, _ in laid]),
                cached_images=load.images,
                flops=flops,
                flops_uncached=flops,
                memory=max((forward_memory(model, each, mode) for _, each in laid), key=lambda m: m.total),
            )
        ]

    def _choose(self, passes: Sequence[T], name: str) -> list[T]:
        """Return the forward passes that are laid out, evenly spread over all."""
        if len(passes) > self._laid_out:
            self.notes[f"{name}: means over {self._laid_out} of {len(passes)} forward passes"] = None
        return spread(passes, self._laid_out)

    def _parts(self, stage: Stage, inputs: InputCache) -> tuple[list[TrainingPart], float]:
        """Return a training's parts, and how many times larger the largest whole is than its sample."""
        parts, factor = [], 1.0
        for said in stage.params["parts"]:
            made = stage.needs.get(f"pairs/{said['name']}")
            found = self._data.pair_set(self._stages[made]) if made else self._data.train(stage)
            factor = max(factor, found.factor)
            pairs = self._fitting(stage, found, inputs)
            objective = objectives[said["objective"]]
            parts.append(TrainingPart(pairs, objective, share=said["share"], name=said["name"]))
        return parts, factor

    def _fitting(self, stage: Stage, found: Sampled, inputs: InputCache) -> list[Pair]:
        fitting = Fitting(inputs, stage.params["on_too_long"])
        pairs = fitting.keep(found.pairs)
        if fitting.skipped:
            self.notes[f"{stage.name}: {len(fitting.skipped)} pairs of the sample are too long"] = None
        return pairs

    def _outline(self, stage: Stage) -> tuple[HFBackbone, InputCache, Model]:
        """Return the backbone that a stage's model began as, without its weights."""
        while stage.work != "start":
            # What was chosen among candidates began as each of them did; the first of its needs is one.
            above = stage.needs.get("model") or next(iter(stage.needs.values()))
            stage = self._stages[above]
        if stage.name not in self._outlines:
            params = stage.params
            settings = backbones[params["family"]].settings.model_validate(params["settings"])
            backbone = outlines[params["family"]](settings, lambda: training_texts(params["data"]))
            inputs = InputCache(backbone)
            self._outlines[stage.name] = backbone, inputs, measure(backbone, self._image_sizes(inputs))
        return self._outlines[stage.name]

    def _image_sizes(self, inputs: InputCache) -> list[Size]:
        """Return the sizes of some of the data's images, in pixels, where they matter."""
        if not inputs.backbone.sizes_matter:
            return []
        shown = dict.fromkeys(
            path for pair in self._data.all_train() for p in pair.images.values() for path in p
        )
        return [inputs.size(path) for path in spread(list(shown), MEASURED_IMAGES)]


def _cost_key(stage: Stage) -> str:
    """Return what tells trainings of different cost apart."""
    training = {key: value for key, value in stage.params["training"].items() if key not in FREE}
    parts = [(part["name"], part["objective"], part["share"]) for part in stage.params["parts"]]
    return json.dumps([training, parts, dict(stage.needs)], sort_keys=True)


class _Drawn(NamedTuple):
    """One forward pass of a training: what it scores, and how many pairs that are."""

    asked: Asked
    pairs: int


def _draw(
    parts: Sequence[TrainingPart], settings: TrainingSettings, scorer: Scorer, seed: int
) -> list[_Drawn]:
    """Return every forward pass of a run, as the trainer draws them."""
    held = hold_out(parts, settings.validation_share, seed)
    groups = PairGroups(held.train, settings.pairs_per_group).groups
    cells = [part.objective.cells for part in parts]
    rows: list[tuple[int, ...]] = []
    if settings.by_length or settings.tokens_per_step is not None:
        shared = scorer.shared
        rows = [row_lengths(g.pairs, cells[g.part], scorer.inputs, shared=shared) for g in groups]
    mixture = Mixture([group.part for group in groups], [part.share for part in parts], rows)
    size = BatchSize(settings.images_per_step, settings.tokens_per_step)
    count = settings.steps * settings.accumulate
    asked = [[(pair, cell) for cell in cells[g.part] for pair in g.pairs] for g in groups]
    return [
        _Drawn(
            [each for group in batch for each in asked[group]],
            sum(len(groups[group].pairs) for group in batch),
        )
        for batch in run_batches(mixture, size, count, seed, by_length=settings.by_length)
    ]


def _first_seen(drawn: Sequence[_Drawn], factor: float) -> float:
    """Return how many images a pass shows for the first time, on average.

    In a whole that is `factor` times larger than the sample, so many more images are new, but no more than
    are shown at all.
    """
    shown = [number_images(each.asked).keys() for each in drawn]
    distinct = len(set[Path]().union(*shown)) * factor
    return min(distinct, sum(map(len, shown))) / len(drawn)
