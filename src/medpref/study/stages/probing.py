"""What a study asks a model while it is trained: the validation samples that settings are searched with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medpref.backbones.base import Backbone
from medpref.errors import InputError
from medpref.evaluation.log import LogHeader, Record, mean_score
from medpref.evaluation.predict import make_log, predict
from medpref.evaluation.tasks import Task, tasks
from medpref.scoring.inputs import InputCache
from medpref.study.stage import StageContext
from medpref.study.stages.reading import required_samples
from medpref.training.probe import Probe


def make_probe(
    backbone: Backbone, inputs: InputCache, folder: Path, params: Mapping[str, Any], context: StageContext
) -> Probe | None:
    """Return what asks the validation samples, or None where the study asks nothing.

    Args:
        backbone: the model that is trained.
        inputs: token ids and pixels, kept between calls.
        folder: where the answers go, a file for each step that is asked at.
        params: the training's.
        context: the stage's.

    Raises:
        InputError: there are no validation samples of the task, or none has the metric.
    """
    if "probe" not in params:
        return None
    said = params["probe"]
    task = tasks[said["task"]]
    samples = required_samples(context, "validation", task.name)
    about = LogHeader("", "", "", 0, task.name, task.version, "normal", "validation")

    def ask(step: int) -> dict[str, float]:
        answers = predict(
            backbone,
            samples,
            folder / f"step-{step:06d}.predictions.jsonl",
            max_new_tokens=task.max_new_tokens,
            batch=said["batch"],
            inputs=inputs,
            # A run that was killed comes to the same weights at this step.
            fingerprint=f"step {step}",
        )
        return probe_scores(
            task, said["metric"], make_log(about, task, samples, answers, context.run).records
        )

    return ask


def probe_scores(task: Task, metric: str, records: tuple[Record, ...]) -> dict[str, float]:
    """Return the means of `metric` and of the task's headline metrics, by the names that training logs use.

    Each stands there for all samples as ``METRIC``, and for each of the task's named slices that has any as
    ``METRIC/SLICE``; ``n`` is the number of samples with `metric`.

    Raises:
        InputError: no sample has `metric`.
    """
    slices = {
        "": records,
        **{
            f"/{name}": tuple(record for record in records if not kinds.isdisjoint(record.kinds))
            for name, kinds in task.slices.items()
        },
    }
    scores: dict[str, float] = {}
    for name in dict.fromkeys((metric, *(headline for headline, _ in task.headline))):
        for part, members in slices.items():
            value, n = mean_score(members, name)
            if n:
                scores[name + part] = value
    if metric not in scores:
        raise InputError(f"no validation sample of {task.name} has the metric {metric!r}", where="search")
    return {**scores, "n": mean_score(records, metric)[1]}
