"""A run folder as a study leaves it, made of phantoms and of answers drawn with a known skill."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medpref.evaluation.conditions.mirrored import exchange_sides
from medpref.evaluation.likelihood import ChoiceScores, likelihood_scores
from medpref.evaluation.log import EvaluationLog, LogHeader, Record, read_logs
from medpref.evaluation.results import build_results
from medpref.files import write_json, write_jsonl
from medpref.pairs.recipes.images.mirror import sides_in
from medpref.phantoms import VISUAL_KINDS, Phantom, generate

HEADLINE = [("phantom-vqa", "accuracy", "all"), ("phantom-vqa", "accuracy", "visual")]
# How often each method is right where the image has to be read, and how often elsewhere.
SKILL = {
    "sft": (0.60, 0.97),
    "sft-continued": (0.64, 0.97),
    "dpo": (0.45, 0.95),
    "irpo": (0.66, 0.97),
    "copo": (0.61, 0.97),
}
# Under which conditions, beside normal and blank, and how often right where the image has to be read.
LOOKING = {"outside-noise": 0.5, "roi-noise": 0.2, "mirror": 0.4, "rephrased": 0.5, "rephrased-2": 0.4}
BASELINES = {"majority": 0.30, "majority-by-kind": 0.45, "yes-or-no": 0.0}


@dataclass(frozen=True)
class Shape:
    """What a synthetic run has."""

    images: int = 12
    backbones: Sequence[str] = ("tiny",)
    seeds: Sequence[int] = (0,)
    methods: Sequence[str] = tuple(SKILL)
    controls: Sequence[str] = ("sft", "sft-continued")
    blank: bool = True
    baselines: bool = True
    search: bool = True
    curves: bool = True
    regions: bool = True
    looking: bool = False


def make_run(folder: Path, shape: Shape) -> Path:
    """Write a run folder and return it."""
    phantoms = [generate(7, index) for index in range(shape.images)]
    for index, phantom in enumerate(phantoms):
        _write_images(folder / "images", index, phantom)
    for backbone in shape.backbones:
        for seed in shape.seeds:
            for method in shape.methods:
                _write_method(folder / "logs", phantoms, shape, (backbone, seed, method))
    if shape.baselines:
        for name, skill in BASELINES.items():
            log = make_log(
                phantoms, LogHeader("made-up", "none", f"baseline:{name}", 0, *_ASKED), (skill, skill)
            )
            log.write(folder / "logs" / "baselines" / f"phantom-vqa.{name}.eval.jsonl")
    write_json(folder / "logs" / "data.json", facts(shape))
    write_json(folder / "run.json", about(shape))
    write_results(folder, shape)
    return folder


_ASKED = ("phantom-vqa", 1, "normal", "test")


def write_results(folder: Path, shape: Shape) -> None:
    """Compute results.json from the logs."""
    results = build_results(
        read_logs(folder / "logs"),
        study="made-up",
        controls=shape.controls,
        headline=HEADLINE,
        slices={"visual": VISUAL_KINDS},
        resamples=200,
    )
    write_json(folder / "results.json", results)


def _write_images(folder: Path, index: int, phantom: Phantom) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(phantom.image).save(folder / f"{index}.png")
    if phantom.mask.any():
        Image.fromarray(phantom.mask.astype(np.uint8) * 255).convert("1").save(folder / f"{index}-mask.png")


def _write_method(logs: Path, phantoms: Sequence[Phantom], shape: Shape, who: tuple[str, int, str]) -> None:
    backbone, seed, method = who
    folder = logs / backbone / f"seed-{seed}" / method
    visual, other = SKILL.get(method, (0.5, 0.9))
    for condition, skill in {"normal": visual, "blank": 0.4, **(LOOKING if shape.looking else {})}.items():
        if condition != "blank" or shape.blank:
            header = LogHeader(
                "made-up", backbone, method, seed, "phantom-vqa", 1, condition, "test", "weights"
            )
            log = make_log(phantoms, header, (skill, other), regions=shape.regions)
            if condition == "mirror":
                log = mirrored(log)
            if shape.looking:
                log = with_likelihoods(log)
            log.write(folder / f"phantom-vqa.{condition}.eval.jsonl")
    if shape.curves:
        write_jsonl(folder / "training.jsonl", curve_rows(method))
    if shape.search:
        write_json(folder / "search.json", search(backbone, seed, method))


def make_log(
    phantoms: Sequence[Phantom], header: LogHeader, skill: tuple[float, float], *, regions: bool = True
) -> EvaluationLog:
    """Answer all questions, right with the probability `skill` of (visual kinds, other kinds)."""
    seed = sum(map(ord, f"{header.backbone}{header.method}{header.condition}")) + header.seed
    rng = np.random.default_rng(seed)
    records = []
    for index, phantom in enumerate(phantoms):
        hard = np.random.default_rng(index).random(len(phantom.questions))
        for question, shared in zip(phantom.questions, hard, strict=True):
            # Half of what decides is the question's own: methods err on the same ones.
            luck = shared if rng.random() < 0.6 else rng.random()
            right = luck < skill[0 if question.kind in VISUAL_KINDS else 1]
            others = [choice for choice in question.choices if choice != question.answer]
            records.append(
                Record(
                    id=f"test-{index:05d}-{question.kind}",
                    prompt=f"<image>\n{question.prompt}",
                    images=(f"images/{index}.png",),
                    cluster=f"test-{index:05d}",
                    prediction=question.answer if right else str(rng.choice(others)),
                    gold=question.answer,
                    kinds=(question.kind,),
                    closed=question.closed,
                    scores={"accuracy": float(right), "unparsed": 0.0},
                    region=f"images/{index}-mask.png" if regions and phantom.mask.any() else None,
                )
            )
    return EvaluationLog(header, tuple(records))


def mirrored(log: EvaluationLog) -> EvaluationLog:
    """Keep the questions that are answered by a side, and exchange the sides of what is right."""
    records = [
        replace(record, gold=exchange_sides(record.gold), prediction=exchange_sides(record.prediction))
        for record in log.records
        if sides_in(record.gold)
    ]
    return replace(log, records=tuple(records))


def with_likelihoods(log: EvaluationLog) -> EvaluationLog:
    """Give yes/no questions probabilities that are too sure, and a metric a reason not to score some."""
    rng = np.random.default_rng(len(log.header.method))
    records = []
    for record in log.records:
        if record.gold in ("yes", "no"):
            yes = 1 / (1 + np.exp(-4 * ((1 if record.gold == "yes" else -1) * 0.3 + rng.normal())))
            logps = {"yes": float(np.log(yes)), "no": float(np.log1p(-yes))}
            scores = {**record.scores, **likelihood_scores(record.gold, ChoiceScores(logps, logps))}
            record = replace(record, choice_logps=logps, scores=scores)
        records.append(replace(record, unscored_metrics={} if record.closed else {"green": "no report"}))
    return replace(log, records=tuple(records))


def curve_rows(method: str, steps: int = 300) -> list[dict[str, Any]]:
    """Return a training log with the keys that trainers write."""
    rng = np.random.default_rng(len(method))
    rows = []
    for step in range(10, steps + 1, 10):
        done = step / steps
        row = {"step": step, "learning_rate": 1e-4, "grad_norm": 1.0}
        row["loss"] = 0.69 * float(np.exp(-2 * done)) + float(rng.normal(0, 0.02))
        row["logps/chosen"] = -2 - (20 * done if method == "dpo" else -done) + float(rng.normal(0, 0.1))
        if not method.startswith("sft"):
            row["rewards/margins"] = 2 * done + float(rng.normal(0, 0.05))
            row["rewards/accuracies"] = min(1.0, 0.5 + 0.4 * done + float(rng.normal(0, 0.02)))
            row["logps/rejected"] = -3 - 25 * done + float(rng.normal(0, 0.2))
        rows.append(row)
    return rows


def search(backbone: str, seed: int, method: str) -> dict[str, Any]:
    """Return a search log; the starting point has one candidate and no score."""
    start = method == "sft"
    rates = [1e-5] if start else [1e-5, 1e-4, 1e-3]
    rows = [
        {
            "settings": {} if start else {"steps": 300, "learning_rate": rate, "beta": 0.1},
            **({} if start else {"value": 0.5 + 0.01 * place, "n": 90}),
            "tokens": 120_000,
            "chosen": place == len(rates) - 1,
        }
        for place, rate in enumerate(rates)
    ]
    task = {} if start else {"task": "phantom-vqa", "metric": "accuracy", "split": "validation"}
    empty = {"task": None, "metric": None, "split": None}
    who = {"backbone": backbone, "method": method, "objective": method, "seed": seed}
    return {**who, **empty, **task, "candidates": rows}


def about(shape: Shape) -> dict[str, Any]:
    """Return run.json."""
    methods = {
        name: {
            "objective": name.split("-")[0],
            "settings": {"beta": 0.1},
            "rejected_image": {"recipe": "crop"},
        }
        for name in shape.methods
        if name != "sft"
    }
    study = {
        "study": "made-up",
        "title": "Preference optimization on made-up phantoms",
        "data": {"source": "phantoms", "folder": "/somewhere/private/phantoms"},
        "backbones": [{"name": name, "family": "tiny"} for name in shape.backbones],
        "methods": methods,
        "controls": list(shape.controls),
        "seeds": list(shape.seeds),
    }
    return {
        "medpref": "0.1.0",
        "study": study,
        "versions": {"python": "3.11.9", "torch": "2.6.0"},
        "hardware": {"cpu": "x86_64", "cores": 2, "gpu": None},
        "started": "2025-01-02T03:04:05+00:00",
        "seconds": 754.2,
        "stages": {"data": 12.5, "sft/tiny/seed-0": 96.1, "train/tiny/seed-0/dpo/0": 35.0},
        "headline": [list(figure) for figure in HEADLINE],
        "slices": {"visual": list(VISUAL_KINDS)},
    }


def facts(shape: Shape) -> dict[str, Any]:
    """Return data.json, with everything that calls for a warning."""
    return {
        "source": "procedural phantoms",
        "licence": "generated, no patient data",
        "notes": ["In train and pool, side, count and size follow a site's usual value."],
        "counts": {
            "train": {"rows": 900, "images": 100},
            "test/phantom-vqa": {"rows": 90, "images": shape.images},
        },
        "leakage": {"test_images": shape.images, "also_in_train": shape.images - 1},
        "quarantined": {"qa.jsonl: the answer is empty": 3},
    }


def edit_log(path: Path, **changes: Any) -> None:
    """Change fields of every record of a log."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    write_jsonl(path, [lines[0], *({**line, **changes} for line in lines[1:])])
