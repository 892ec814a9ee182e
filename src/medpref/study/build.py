"""A chain that builds one pair file: source → rejected sides → weights → filters, each step a stage."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import Field, model_validator
from rich.console import Console

from medpref.errors import InputError, RunError
from medpref.files import disk_errors, read_json, read_jsonl, write_json, write_jsonl
from medpref.pairs.sources import sources
from medpref.pairs.store import write_pairs
from medpref.progress import Progress
from medpref.starts import backbones
from medpref.study.datasets import DataSpec, data_stage
from medpref.study.explain import check_settings
from medpref.study.method import Name, PairSpec, Settled, located
from medpref.study.schedule import Where, run_stages
from medpref.study.spec import StudySpec
from medpref.study.stage import STAMP, Stage, stage_folder, stage_keys
from medpref.study.stages.pairs import LEFT_OUT, read_stage_pairs

PAIRS = "pairs.jsonl"


class ModelSpec(Settled):
    """A model that recipes ask: a backbone family and the family's settings."""

    family: str = "pretrained"


class BuildSpec(PairSpec):
    """One pair file and how it is made.

    Attributes:
        build: the name.
        title: one line for listings.
        data: the source.
        part: which of the source's pairs: those for preference methods, or those for supervised training.
        model: what recipes ask that need a model.
        seed: of everything that is drawn.
        on_bad_row: put rows that fail a check aside, or stop at the first.
        generation_batch: questions that the model is asked at a time.
        workers: processes that a step may use.
    """

    build: Name
    title: str = ""
    data: DataSpec
    part: Literal["pool", "train"] = "pool"
    model: ModelSpec | None = None
    seed: int = 0
    on_bad_row: Literal["quarantine", "fatal"] = "quarantine"
    generation_batch: int = Field(64, ge=1)
    workers: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> "BuildSpec":
        with located("data"):
            self.data.check()
            if self.data.sets:
                raise InputError("a build reads one source", remedy="Write one build for each set.")
        for key, spec, recipe in self.recipes():
            check_settings(recipe.settings, spec.settings, key)
            if recipe.needs_model and self.model is None:
                remedy = "Name one: model: {family: pretrained, path: …}."
                raise InputError(f"the recipe {spec.recipe} asks a model", where=key, remedy=remedy)
        if self.model is not None:
            with located("model"):
                check_settings(backbones[self.model.family].settings, self.model.settings)
        return self


def builds_of(study: StudySpec) -> Iterator[tuple[str, BuildSpec | None]]:
    """Yield the pair sets of a study's methods, by METHOD or METHOD.PART.

    None stands for a set that asks the study's own SFT model: only a run of the study can make it.
    """
    for method, spec in study.methods.items():
        for part, pairs in spec.mixture.items():
            name = f"{method}.{part}" if spec.parts else method
            if pairs.needs_model:
                yield name, None
                continue
            said = {key: getattr(pairs, key) for key in PairSpec.model_fields}
            for named, data in study.data.parts("pool").items():
                whole = f"{name}.{named}" if named else name
                yield (
                    whole,
                    BuildSpec(
                        build=whole,
                        data=DataSpec(source=data.source, **data.settings),
                        seed=study.seeds[0],
                        on_bad_row=study.on_bad_row,
                        workers=study.workers or 1,
                        **said,
                    ),
                )


def build_stages(spec: BuildSpec) -> dict[str, Stage]:
    """Return the stages of a build: the data, and one step for each recipe."""
    source = sources[spec.data.source]
    stages = {"data": data_stage(spec.data, spec.on_bad_row)}
    first = {
        "seed": spec.seed,
        "part": spec.part,
        "kinds": list(spec.kinds) if spec.kinds else None,
        "visual_kinds": list(source.visual_kinds),
        "recipe": None,
    }
    stages["steps/0-pairs"] = Stage("steps/0-pairs", "step", first, {"data": "data"})
    before = "steps/0-pairs"
    for number, (part, said, recipe) in enumerate(spec.recipes(), start=1):
        params: dict[str, Any] = {
            "seed": spec.seed,
            "visual_kinds": list(source.visual_kinds),
            "recipe": {"part": part, "name": said.recipe, "settings": said.settings},
        }
        if recipe.needs_model and spec.model is not None:
            params |= {"model": spec.model.model_dump(mode="json"), "batch": spec.generation_batch}
        name = f"steps/{number}-{said.recipe}"
        stages[name] = Stage(name, "step", params, {"pairs": before}, workers=spec.workers)
        before = name
    return stages


def build_pairs(spec: BuildSpec, folder: Path, console: Console) -> dict[str, Any]:
    """Build what is not built yet, and write ``pairs.jsonl``, ``left-out.jsonl`` and ``build.json``.

    Started again after a kill it redoes only unfinished steps; a changed setting redoes its step and those
    behind it. The same seed gives the same bytes.

    Args:
        spec: the build.
        folder: where everything goes; images of steps stay below ``stages``.
        console: for progress.

    Returns:
        The content of ``build.json``: settings, counts by step, why pairs were left out, and what recipes
        tell of their work, such as a leak's AUC.

    Raises:
        MedprefError: another build writes to the folder, or a step failed.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    try:
        with FileLock(folder / ".lock", timeout=0):
            stages = build_stages(spec)
            with Progress(console) as progress:
                run_stages(stages, stage_keys(stages), folder, Where(), progress, cache=folder / "cache")
            return _collect(spec, stages, folder)
    except Timeout:
        remedy = "Wait for it, or name another folder with --out."
        raise RunError("another build is writing here", where=str(folder), remedy=remedy) from None


def _kind_of(reason: str) -> str:
    """Return a reason without what belongs to the single pair: figures in brackets, names behind a colon."""
    return reason.split(" (")[0].split(":")[0]


def _collect(spec: BuildSpec, stages: Mapping[str, Stage], folder: Path) -> dict[str, Any]:
    steps = [name for name in stages if name.startswith("steps/")]
    counts: dict[str, int] = {}
    reports: dict[str, Any] = {}
    left_out: list[dict[str, Any]] = []
    for name in steps:
        place = stage_folder(folder, name)
        counts[name.removeprefix("steps/")] = sum(1 for _ in read_jsonl(place / PAIRS))
        left_out += [row for _, row in read_jsonl(place / LEFT_OUT)]
        for report in sorted(place.glob("*.json")):
            if report.name != STAMP:
                reports[report.stem] = read_json(report)
    write_pairs(folder / PAIRS, read_stage_pairs(stage_folder(folder, steps[-1])))
    write_jsonl(folder / LEFT_OUT, left_out)
    quarantined = read_json(stage_folder(folder, "data") / "data.json")["quarantined"]
    about = {
        "build": json.loads(spec.model_dump_json()),
        "pairs": counts,
        "left_out": dict(
            Counter(f"{row['recipe']}: {_kind_of(row['reason'])}" for row in left_out).most_common()
        ),
        "quarantined": quarantined,
        "reports": reports,
    }
    write_json(folder / "build.json", about)
    return about
