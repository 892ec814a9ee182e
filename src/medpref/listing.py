"""What the command line lists and checks."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medpref.backbones import model_families
from medpref.errors import InputError
from medpref.evaluation.conditions import conditions
from medpref.evaluation.facts.extract import extractors
from medpref.evaluation.facts.judges import judges
from medpref.evaluation.radiology import metrics
from medpref.evaluation.tasks import tasks
from medpref.generation import engines
from medpref.objectives import objectives
from medpref.pairs.export import export_formats
from medpref.pairs.recipes import filter_recipes, image_recipes, response_recipes, weight_recipes
from medpref.pairs.sources import sources
from medpref.pairs.store import read_pairs
from medpref.starts import backbones
from medpref.study.build import BuildSpec
from medpref.study.executors import executors
from medpref.study.load import bundled_builds, bundled_studies, load_spec, load_study
from medpref.study.presets import presets

Rows = list[tuple[str, str]]


def _studies() -> Rows:
    return [(name, load_study(path).title) for name, path in bundled_studies().items()]


def _recipes() -> Rows:
    parts = {
        "response": response_recipes,
        "image": image_recipes,
        "weight": weight_recipes,
        "filter": filter_recipes,
    }
    return [
        (f"{part}: {name}", recipe.summary)
        for part, registry in parts.items()
        for name, recipe in registry.items()
    ]


LISTINGS: dict[str, Callable[[], Rows]] = {
    "studies": _studies,
    "builds": lambda: [(name, load_spec(path, BuildSpec).title) for name, path in bundled_builds().items()],
    "methods": lambda: [(name, f"{preset.summary} ({preset.source})") for name, preset in presets().items()],
    "objectives": lambda: [(name, objective.summary) for name, objective in objectives.items()],
    "judges": lambda: [(name, judge.summary) for name, judge in judges.items()],
    "extractors": lambda: [(name, extractor.summary) for name, extractor in extractors.items()],
    "metrics": lambda: [(name, metric.summary) for name, metric in metrics.items()],
    "conditions": lambda: [(name, condition.summary) for name, condition in conditions.items()],
    "tasks": lambda: [(f"{name} v{task.version}", task.summary) for name, task in tasks.items()],
    "backbones": lambda: [(name, family.summary) for name, family in backbones.items()],
    "families": lambda: [
        (name, f"{family.summary} ({', '.join(family.model_types) or 'every other model_type'})")
        for name, family in model_families.items()
    ],
    "engines": lambda: [(name, kind.summary) for name, kind in engines.items()],
    "recipes": _recipes,
    "formats": lambda: [(name, form.summary) for name, form in export_formats.items()],
    "executors": lambda: [(name, kind.summary) for name, kind in executors.items()],
    "sources": lambda: [(name, source.summary) for name, source in sources.items()],
}


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found: text for people, an exit code, and the rows that failed."""

    text: str
    code: int
    rows: list[dict[str, Any]] = field(default_factory=list)


def check_file(path: Path) -> Checked:
    """Check a study or a pair file."""
    try:
        if path.suffix in (".yaml", ".yml"):
            study = load_study(path)
            return Checked(
                f"{path}: a sound study, {len(study.methods)} methods, {len(study.seeds)} seeds", 0
            )
        file = read_pairs(path)
    except InputError as error:
        return Checked(str(error), error.exit_code)
    lines = [
        f"  line {row.line}" + (f", id {row.id}" if row.id else "") + f": {row.reason}"
        for row in file.quarantined
    ]
    shown = [*lines[:20], *([f"  … and {len(lines) - 20} more"] if len(lines) > 20 else [])]
    rows = [{"file": str(path), **asdict(row)} for row in file.quarantined]
    return Checked("\n".join([file.summary(), *shown]), int(bool(lines)), rows)
