"""What each stage does: thin glue from folders to the pipeline's parts and back to folders."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medpref.backbones import load_backbone
from medpref.backbones.base import Backbone
from medpref.errors import InputError
from medpref.evaluation.baselines import BASELINES, Answered
from medpref.evaluation.log import LogHeader, mean_score
from medpref.evaluation.predict import make_log, predict
from medpref.evaluation.tasks import tasks
from medpref.files import content_hash, file_hash, read_json, read_jsonl, write_json, write_jsonl
from medpref.objectives import objectives
from medpref.pairs.pair import Pair
from medpref.pairs.recipes import image_recipes, response_recipes, weight_recipes
from medpref.pairs.sources import sources
from medpref.pairs.sources.base import read_data_pairs, read_split
from medpref.pairs.store import read_pairs, write_pairs
from medpref.scoring.cells import Cell
from medpref.scoring.inputs import InputCache
from medpref.scoring.scorer import Scorer
from medpref.starts import StartContext, backbones
from medpref.study.stage import StageContext, stage_functions
from medpref.training.arguments import last_checkpoint
from medpref.training.parts import TrainingPart
from medpref.training.reference import ReferenceLogps, compute_reference
from medpref.training.settings import TrainingSettings
from medpref.training.trainer import PreferenceTrainer

RECIPES = {"rejected_response": response_recipes, "rejected_image": image_recipes, "weight": weight_recipes}


@stage_functions.register("data")
def make_data(context: StageContext) -> None:
    """Load the source and write train, pool and samples."""
    params = {key: value for key, value in context.params.items() if key not in ("source", "fatal", "digest")}
    source = sources[context.params["source"]]
    settings = source.settings.model_validate(params)
    work = source.work(settings)
    if work:
        context.expect(work)
    source.load(settings, context.folder, context.params["fatal"], context.advance).write(context.folder)


@stage_functions.register("pairs")
def make_pairs(context: StageContext) -> None:
    """Apply the recipes to the pool."""
    pairs: Sequence[Pair] = read_data_pairs(context.needs["data"], "pool")
    for spec in context.params["recipes"]:
        settings = {key: value for key, value in spec.items() if key not in ("part", "recipe")}
        recipe = RECIPES[spec["part"]][spec["recipe"]]
        pairs = recipe.run(pairs, settings, context.params["seed"], context.folder)
    write_pairs(context.folder / "pairs.jsonl", pairs)


@stage_functions.register("start")
def make_start(context: StageContext) -> None:
    """Make or load the backbone that the study starts from."""
    params = context.params
    family = backbones[params["family"]]
    data = {key: value for key, value in params["data"].items() if key not in ("source", "fatal", "digest")}
    source = sources[params["data"]["source"]]
    start = StartContext(
        texts=lambda: source.texts(source.settings.model_validate(data)),
        seed=params["seed"],
        folder=context.folder / "checkpoints",
        advance=context.advance,
        expect=context.expect,
    )
    backbone = family.start(family.settings.model_validate(params["settings"]), start)
    backbone.save(context.folder / "model")
    write_json(context.folder / "model.json", describe_model(backbone, context.folder / "model"))


def describe_model(backbone: Backbone, folder: Path) -> dict[str, Any]:
    """Return the fingerprint of a saved model's weights and its number of parameters."""
    files = sorted(folder.glob("*.safetensors"))
    count = sum(parameter.numel() for parameter in backbone.model.parameters())
    return {"fingerprint": content_hash([file_hash(file) for file in files]), "parameters": count}


@stage_functions.register("reference")
def make_reference(context: StageContext) -> None:
    """Score the pairs under the starting weights."""
    backbone = load_backbone(context.needs["model"] / "model")
    inputs = InputCache(backbone)
    pairs = fitting(read_stage_pairs(context.needs["pairs"]), inputs, context)
    cells = [cell for cell in Cell if cell.key in context.params["cells"]]
    context.expect(len(pairs))
    scorer = Scorer(backbone, inputs, precision=context.params["precision"])
    reference = compute_reference(scorer, pairs, cells, advance=context.advance)
    reference.save(context.folder / "reference.safetensors")


def read_stage_pairs(folder: Path) -> tuple[Pair, ...]:
    """Read what `make_pairs` wrote; the images were checked when the data was read."""
    return read_pairs(folder / "pairs.jsonl", fatal=True, verify_images=False).pairs


def fitting(pairs: Sequence[Pair], inputs: InputCache, context: StageContext) -> list[Pair]:
    """Return the pairs whose texts fit the backbone's context; the others are named in ``too-long.jsonl``.

    Raises:
        InputError: one does not fit and the study does not say to skip such pairs.
    """
    kept, skipped = [], []
    for pair in pairs:
        try:
            for role in pair.responses:
                inputs.ids(pair, role)
            kept.append(pair)
        except InputError as error:
            if context.params["on_too_long"] == "fatal":
                raise
            skipped.append({"id": pair.id, "reason": error.what})
    write_jsonl(context.folder / "too-long.jsonl", skipped)
    return kept


@stage_functions.register("train")
def train(context: StageContext) -> None:
    """Train one candidate, and ask the validation samples where the study searches."""
    params = context.params
    training = TrainingSettings.model_validate(params["training"])
    context.expect(training.steps)
    backbone = load_backbone(context.needs["model"] / "model")
    inputs = InputCache(backbone)
    made = context.needs.get("pairs")
    pairs = fitting(
        read_stage_pairs(made) if made else read_data_pairs(context.needs["data"], "train"), inputs, context
    )
    reference = context.needs.get("reference")
    trainer = PreferenceTrainer(
        backbone,
        [
            TrainingPart(
                pairs,
                objectives[params["objective"]],
                params["objective_settings"],
                ReferenceLogps.load(reference / "reference.safetensors") if reference else None,
            )
        ],
        training,
        seed=params["seed"],
        folder=context.folder / "checkpoints",
        inputs=inputs,
        advance=context.advance,
    )
    trainer.train(resume_from_checkpoint=last_checkpoint(context.folder / "checkpoints"))
    trainer.write_log(context.folder / "training.jsonl")
    backbone.save(context.folder / "model")
    write_json(
        context.folder / "model.json",
        {**describe_model(backbone, context.folder / "model"), "tokens": trainer.state.num_input_tokens_seen},
    )
    if params.get("search"):
        write_json(context.folder / "validation.json", validate(backbone, inputs, context))


def validate(backbone: Backbone, inputs: InputCache, context: StageContext) -> dict[str, Any]:
    """Return the search metric on the validation samples."""
    search = context.params["search"]
    task = tasks[search["task"]]
    samples = read_split(context.needs["data"], "validation", search["task"])
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
    roles = sorted(
        (role for role in context.needs if role.startswith("candidate-")), key=lambda r: int(r[10:])
    )
    chosen = choose(context, roles)
    folder = context.needs[roles[chosen]]
    backbone = load_backbone(folder / "model")
    inputs = InputCache(backbone)
    samples = {task: read_split(context.needs["data"], "test", task) for task in params["tasks"]}
    context.expect(sum(map(len, samples.values())) * len(params["conditions"]))
    for task in params["tasks"]:
        for condition in params["conditions"]:
            header = LogHeader(
                study=params["study"],
                backbone=params["backbone"],
                method=params["method"],
                seed=params["seed"],
                task=task,
                task_version=tasks[task].version,
                condition=condition,
                split="test",
                model=read_json(folder / "model.json")["fingerprint"],
                decoding={"strategy": "greedy", "max_new_tokens": tasks[task].max_new_tokens},
            )
            answers = predict(
                backbone,
                samples[task],
                context.folder / f"{task}.{condition}.predictions.jsonl",
                max_new_tokens=tasks[task].max_new_tokens,
                batch=params["batch"],
                blank=condition == "blank",
                inputs=inputs,
                advance=context.advance,
            )
            log = make_log(header, tasks[task], samples[task], answers, context.run)
            log.write(context.folder / f"{task}.{condition}.eval.jsonl")
    rows = [row for _, row in read_jsonl(folder / "training.jsonl")]
    write_jsonl(context.folder / "training.jsonl", rows)


def choose(context: StageContext, roles: Sequence[str]) -> int:
    """Return the number of the best candidate on validation, the first of equals, and log the search."""
    params = context.params
    tried = params.get("candidates", [{}])
    folders = [context.needs[role] for role in roles]
    scores = [read_json(f / "validation.json") if params.get("search") else {} for f in folders]
    best = max(range(len(folders)), key=lambda i: (scores[i].get("value", 0.0), -i))
    rows = [
        {
            "settings": settings,
            **score,
            "tokens": read_json(folder / "model.json").get("tokens"),
            "chosen": number == best,
        }
        for number, (settings, score, folder) in enumerate(zip(tried, scores, folders, strict=True))
    ]
    search = params.get("search") or {}
    write_json(
        context.folder / "search.json",
        {
            "backbone": params["backbone"],
            "method": params["method"],
            "objective": params.get("objective", "sft"),
            "seed": params["seed"],
            "split": "validation" if search else None,
            "task": search.get("task"),
            "metric": search.get("metric"),
            "candidates": rows,
        },
    )
    return best


@stage_functions.register("baselines")
def evaluate_baselines(context: StageContext) -> None:
    """Answer the test samples without looking: what a score is worth is its distance from these."""
    for task in context.params["tasks"]:
        train = [
            Answered(s.kinds, s.closed, s.gold) for s in read_split(context.needs["data"], "train", task)
        ]
        samples = read_split(context.needs["data"], "test", task)
        for name, baseline in BASELINES.items():
            answer = baseline(train)
            header = LogHeader(
                study=context.params["study"],
                backbone="none",
                method=f"baseline:{name}",
                seed=0,
                task=task,
                task_version=tasks[task].version,
                condition="normal",
                split="test",
            )
            answers = [answer(sample.kinds, sample.closed) for sample in samples]
            log = make_log(header, tasks[task], samples, answers, context.run)
            log.write(context.folder / f"{task}.{name}.eval.jsonl")
