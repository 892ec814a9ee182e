"""The stages that choose among candidates, and keep what was chosen for methods that begin with it."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from medpref.evaluation.metrics import goodness
from medpref.files import read_json, write_json
from medpref.study.stage import StageContext, stage_functions

CHOICE = "choice.json"


@stage_functions.register("choose")
def choose_together(context: StageContext) -> None:
    """Choose the candidate with the best mean over the seeds that were searched with."""
    params = context.params
    scores = []
    for number in range(len(params["candidates"])):
        folders = [folder for role, folder in context.needs.items() if role.endswith(f"/candidate-{number}")]
        found = [read_json(folder / "validation.json") for folder in folders]
        scores.append({"value": fmean(s["value"] for s in found), "n": sum(s["n"] for s in found)})
    best = best_of(params["search"]["metric"], scores)
    write_json(context.folder / CHOICE, {"number": best, "scores": scores})


def choose_model(context: StageContext) -> Path:
    """Return the folder of the chosen candidate's training, and log how it was chosen."""
    folders = [context.needs[role] for role in sorted(context.needs, key=_number) if _number(role) >= 0]
    if "choice" in context.needs:
        choice = read_json(context.needs["choice"] / CHOICE)
        if not folders:
            # Searched with other seeds: this one was trained with what they chose, and nothing else.
            folder = context.needs["candidate"]
            log_search(context, [context.params["candidates"][choice["number"]]], [{}], [folder], 0)
            return folder
        best, scores = int(choice["number"]), choice["scores"]
    else:
        searched = bool(context.params.get("search"))
        scores = [read_json(folder / "validation.json") if searched else {} for folder in folders]
        best = best_of((context.params.get("search") or {}).get("metric", ""), scores)
    log_search(context, context.params.get("candidates", [{}]), scores, folders, best)
    return folders[best]


def best_of(metric: str, scores: Sequence[Mapping[str, Any]]) -> int:
    """Return the number of the best score, the first of equals."""
    return max(range(len(scores)), key=lambda i: (goodness(metric, scores[i].get("value", 0.0)), -i))


def log_search(
    context: StageContext,
    tried: Sequence[Mapping[str, Any]],
    scores: Sequence[Mapping[str, Any]],
    folders: Sequence[Path],
    best: int,
) -> None:
    """Write what was tried, how it did on validation, what it cost and what was chosen."""
    params = context.params
    rows = [
        {
            "settings": settings,
            **score,
            "tokens": read_json(folder / "model.json").get("tokens"),
            "chosen": number == best,
        }
        for number, (settings, score, folder) in enumerate(zip(tried, scores, folders, strict=True))
    ]
    search = (params.get("search") or {}) if any(scores) else {}
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


@stage_functions.register("keep-chosen")
def keep_chosen(context: StageContext) -> None:
    """Keep the chosen model for the methods that begin with it, by hard links where these can be made."""
    folder = choose_model(context)
    shutil.copytree(
        folder / "model", context.folder / "model", copy_function=_link_or_copy, dirs_exist_ok=True
    )
    shutil.copyfile(folder / "model.json", context.folder / "model.json")


def _link_or_copy(source: str, target: str) -> None:
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def chosen_params(context: StageContext) -> Mapping[str, Any]:
    """Return a training's parameters: where a search with other seeds chose among several, those it chose."""
    if "choice" not in context.needs:
        return context.params
    number = read_json(context.needs["choice"] / CHOICE)["number"]
    return {**context.params, **context.params["alternatives"][number]}


def _number(role: str) -> int:
    """Return a candidate's number, and -1 for what is none."""
    return int(role.removeprefix("candidate-")) if role.startswith("candidate-") else -1
