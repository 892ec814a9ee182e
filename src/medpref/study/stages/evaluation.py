"""The stages that ask models: validation, the test, and the baselines that look at nothing."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medpref.backbones.base import Backbone
from medpref.errors import InputError
from medpref.evaluation.alignment import NORMAL
from medpref.evaluation.attribution import attributable, attribute, with_attributions
from medpref.evaluation.baselines import BASELINES
from medpref.evaluation.conditions import ConditionContext, conditions
from medpref.evaluation.facts.judges import judges
from medpref.evaluation.likelihood import predict_choices, spellings
from medpref.evaluation.log import EvaluationLog, LogHeader, mean_score
from medpref.evaluation.predict import log_baseline, make_log, predict
from medpref.evaluation.report_metrics import Facts, read_given_facts, with_facts, with_metrics
from medpref.evaluation.tasks import tasks
from medpref.files import read_json, read_jsonl, relative_to, write_json, write_jsonl
from medpref.pairs.sample import Sample
from medpref.scoring.inputs import InputCache
from medpref.study.cache import BESIDE
from medpref.study.models import load_model
from medpref.study.stage import StageContext, stage_functions
from medpref.study.stages.choice import choose_model
from medpref.study.stages.reading import data_samples, required_samples


def validate(backbone: Backbone, inputs: InputCache, context: StageContext) -> dict[str, Any]:
    """Return the search metric on the validation samples."""
    search = context.params["search"]
    task = tasks[search["task"]]
    samples = required_samples(context, "validation", search["task"])
    path = context.folder / "validation.predictions.jsonl"
    answers = predict(
        backbone,
        samples,
        path,
        max_new_tokens=task.max_new_tokens,
        batch=context.params["batch"],
        inputs=inputs,
    )
    header = LogHeader("", "", "", 0, task.name, task.version, "normal", "validation")
    value, n = mean_score(make_log(header, task, samples, answers, context.run).records, search["metric"])
    if n == 0:
        raise InputError(
            f"no validation sample of {task.name} has the metric {search['metric']!r}", where="search"
        )
    return {"value": value, "n": n}


@stage_functions.register("evaluate")
def evaluate(context: StageContext) -> None:
    """Choose the best candidate on validation, and ask it the test samples once."""
    params = context.params
    folder = choose_model(context)
    backbone = load_model(folder / "model")
    inputs = InputCache(backbone)
    samples = {task: required_samples(context, "test", task) for task in params["tasks"]}
    # Drawn images are shared by all evaluations of the run: they are named by content.
    drawn = context.run / "shown"
    shown = {
        (task, name): conditions[name].show(samples[task], ConditionContext(drawn / name))
        for task in params["tasks"]
        for name in params["conditions"]
    }
    # A condition that applies to none of a task's samples has no log.
    shown = {key: samples for key, samples in shown.items() if samples}
    write_json(context.folder / BESIDE, _beside(shown.values(), drawn, context.run))
    likely = [sum(1 for sample in own if spellings(sample)) for own in shown.values()]
    looked = _looked_at(shown, params.get("attribution"))
    context.expect(
        sum(map(len, [*shown.values(), *looked.values()])) + (sum(likely) if params["likelihood"] else 0)
    )
    for (task, condition), asked in shown.items():
        header = LogHeader(
            study="",
            backbone=params["backbone"],
            method=params["method"],
            seed=params["seed"],
            task=task,
            task_version=tasks[task].version,
            condition=condition,
            split="test",
            model=read_json(folder / "model.json")["fingerprint"],
            decoding=tasks[task].decoding,
        )
        answers = predict(
            backbone,
            asked,
            context.folder / f"{task}.{condition}.predictions.jsonl",
            max_new_tokens=tasks[task].max_new_tokens,
            batch=params["batch"],
            blank=conditions[condition].blank,
            inputs=inputs,
            fingerprint=header.model,
            advance=context.advance,
        )
        choices = None
        if params["likelihood"]:
            choices = predict_choices(
                backbone,
                asked,
                context.folder / f"{task}.{condition}.choices.jsonl",
                blank=conditions[condition].blank,
                inputs=inputs,
                fingerprint=header.model,
                advance=context.advance,
            )
        log = make_log(header, tasks[task], asked, answers, context.run, choices)
        if (task, condition) in looked:
            found = attribute(
                backbone,
                looked[task, condition],
                context.folder / f"{task}.attribution.jsonl",
                inputs=inputs,
                fingerprint=header.model,
                advance=context.advance,
            )
            log = with_attributions(log, found)
        if params["reports"] and tasks[task].reports:
            log = score_reports(log, params["reports"], context)
        log.write(context.folder / f"{task}.{condition}.eval.jsonl")
    trained = folder / "training.jsonl"
    if trained.is_file():
        write_jsonl(context.folder / trained.name, [row for _, row in read_jsonl(trained)])


def _looked_at(
    shown: Mapping[tuple[str, str], Sequence[Sample]], settings: Mapping[str, Any] | None
) -> dict[tuple[str, str], list[Sample]]:
    """Return the samples whose gradient is looked at, as they are shown: those under normal conditions."""
    if settings is None:
        return {}
    found = {key: attributable(own, settings["samples"]) for key, own in shown.items() if key[1] == NORMAL}
    return {key: own for key, own in found.items() if own}


def _beside(shown: Iterable[Sequence[Sample]], drawn: Path, run: Path) -> list[str]:
    """Return the drawn images that the logs name, relative to the run: they lie outside the stage."""
    images = {image for samples in shown for sample in samples for image in sample.images}
    return sorted(relative_to(image, run) for image in images if image.is_relative_to(drawn))


def score_reports(log: EvaluationLog, said: Mapping[str, Any], context: StageContext) -> EvaluationLog:
    """Return a log of reports with what the study scores them by beside their words."""
    if said["judge"] is not None:
        settings = {key: value for key, value in said["judge"].items() if key != "judge"}
        facts = Facts(
            judges[said["judge"]["judge"]].make(settings),
            read_given_facts(Path(said["facts"]) if said["facts"] else None),
        )
        about = log.header
        log = with_facts(log, facts, context.folder / f"{about.task}.{about.condition}.judged.jsonl")
    cache = context.run / "cache" / "metrics"
    return with_metrics(log, said["metrics"], cache=cache, python=said["python"])


@stage_functions.register("baselines")
def evaluate_baselines(context: StageContext) -> None:
    """Answer the test samples without looking: what a score is worth is its distance from these."""
    for task in context.params["tasks"]:
        train = data_samples(context, "train", task, "test")
        samples = required_samples(context, "test", task)
        about = LogHeader(
            study="",
            backbone="none",
            method="",
            seed=0,
            task=task,
            task_version=tasks[task].version,
            condition="normal",
            split="test",
        )
        for name in BASELINES:
            log = log_baseline(name, about, tasks[task], train, samples, context.run)
            log.write(context.folder / f"{task}.{name}.eval.jsonl")
