"""The stages of a plan in which models are asked the test."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from medpref.backbones.hf import HFBackbone
from medpref.evaluation.tasks import tasks
from medpref.generation.question import Question
from medpref.scoring.inputs import InputCache
from medpref.study.dry.asking import (
    ANSWERS,
    LIKELIHOOD,
    AskedPass,
    Likelihoods,
    answer_batches,
    lay_out_answers,
)
from medpref.study.dry.costs import StagePlan
from medpref.study.dry.data import DryData
from medpref.study.dry.flops import forward_flops
from medpref.study.dry.memory import Memory, forward_memory
from medpref.study.dry.passes import mean_of
from medpref.study.dry.sizes import Load, Model

LayOut = Callable[[], AskedPass]
Choose = Callable[[Sequence[LayOut], str], list[LayOut]]


class EvaluationPlanner:
    """Plans what one backbone is asked: each condition, answers and likelihoods apart.

    Args:
        outline: the backbone without its weights, its inputs and its sizes.
        data: the test samples.
        params: of an evaluation.
        backbone: the backbone's name in the study.
        runs: how many models are asked.
        choose: which passes are laid out, by what they are called.
    """

    def __init__(
        self,
        outline: tuple[HFBackbone, InputCache, Model],
        data: DryData,
        params: Mapping[str, Any],
        backbone: str,
        runs: int,
        choose: Choose,
    ) -> None:
        self._model, self._inputs, sizes = outline
        self._lean = sizes
        # Generation runs the model as it is.
        self._plain = sizes._replace(decoder=sizes.decoder._replace(lean=False))
        self._data, self._params, self._backbone = data, params, backbone
        self._runs, self._choose = runs, choose

    def plan(self) -> list[StagePlan]:
        """Plan every condition that applies to any sample."""
        found = []
        for condition in self._params["conditions"]:
            found.append(self._stage(ANSWERS, condition, *self._answers(condition)))
            if self._params["likelihood"]:
                found.append(self._stage(LIKELIHOOD, condition, *self._likelihoods(condition)))
        return [stage for stage in found if stage is not None]

    def _answers(self, condition: str) -> tuple[list[LayOut], float]:
        passes: list[LayOut] = []
        steps = 0.0
        for task in self._params["tasks"]:
            samples, factor = self._data.test(task, condition)
            golds = {sample.id: sample.gold for sample in samples}
            groups = answer_batches(self._model, self._inputs, samples, self._params["batch"])
            steps += factor * len(groups)
            passes += [self._answer(group, golds, tasks[task].max_new_tokens) for group in groups]
        return passes, steps

    def _answer(self, group: Sequence[Question], golds: Mapping[str, str], most: int) -> LayOut:
        return lambda: lay_out_answers(self._inputs, group, golds, most)

    def _likelihoods(self, condition: str) -> tuple[list[LayOut], float]:
        passes: list[LayOut] = []
        steps = 0.0
        for task in self._params["tasks"]:
            samples, factor = self._data.test(task, condition)
            asked = Likelihoods(self._model, self._inputs, samples)
            steps += factor * len(asked.batches)
            passes += [_likelihood(asked, group) for group in asked.batches]
        return passes, steps

    def _stage(self, work: str, condition: str, passes: Sequence[LayOut], steps: float) -> StagePlan | None:
        if not passes:
            return None
        name = f"{work} {condition}"
        chosen = [lay_out() for lay_out in self._choose(passes, name)]
        load = mean_of([each.load for each in chosen])
        sizes = self._plain if work == ANSWERS else self._lean
        flops = forward_flops(sizes, load).total
        memory = max((self._memory(sizes, each.load, work) for each in chosen), key=lambda m: m.total)
        return StagePlan(
            name=name,
            work=work,
            backbone=self._backbone,
            runs=self._runs,
            steps=max(1, round(steps)),
            pairs=fmean(each.questions for each in chosen),
            step=mean_of([each.made for each in chosen]),
            cached_images=load.images,
            flops=flops,
            flops_uncached=flops,
            memory=memory,
        )

    def _memory(self, sizes: Model, load: Load, work: str) -> Memory:
        memory = forward_memory(sizes, load)
        if work != ANSWERS:
            return memory
        decoder = sizes.decoder
        # Keys and values of all layers are kept while a batch is answered.
        kept = load.columns * decoder.layers * 2 * decoder.keys * sizes.element
        return memory._replace(activations=memory.activations + kept)


def _likelihood(asked: Likelihoods, group: Sequence[Question]) -> LayOut:
    return lambda: asked.lay_out(group)
