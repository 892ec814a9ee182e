"""The studies that are compared, and what they share."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medpref.errors import InputError
from medpref.evaluation.alignment import NORMAL
from medpref.evaluation.log import EvaluationLog
from medpref.evaluation.samples import sample_digest
from medpref.report.layout import Layout, make_layout
from medpref.report.load import RunFolder, read_run
from medpref.report.tables import Index

_LEAST = 2


@dataclass(frozen=True, slots=True)
class Study:
    """One finished study.

    Attributes:
        label: its name, with the folder's where two studies have one name.
        run: its run.
        layout: the order of its methods.
        index: its scores.
    """

    label: str
    run: RunFolder
    layout: Layout
    index: Index

    def logs(self, task: str, backbone: str, method: str) -> list[EvaluationLog]:
        """Return what a method answered to a task with the images as they are, a log for each seed."""
        wanted = (task, backbone, method, NORMAL)
        return [
            log
            for log in self.run.logs
            if (log.header.task, log.header.backbone, log.header.method, log.header.condition) == wanted
        ]

    def asked(self, task: str) -> EvaluationLog | None:
        """Return any model's log of a task with the images as they are; all have the same samples."""
        logs = (log for log in self.run.logs if log.header.model is not None)
        return next((x for x in logs if (x.header.task, x.header.condition) == (task, NORMAL)), None)


def read_studies(folders: Sequence[Path]) -> list[Study]:
    """Read the folders of finished studies.

    Raises:
        InputError: there are fewer than two, one twice, or one holds no results.
    """
    places = [folder.resolve() for folder in folders]
    if len(set(places)) < _LEAST or len(set(places)) < len(places):
        raise InputError(
            "a comparison takes at least two studies, each once",
            remedy="Name the folders that they were run into: medpref compare runs/a runs/b.",
        )
    runs = [read_run(folder) for folder in folders]
    names = [str(run.results.get("study") or run.path.name) for run in runs]
    counts = Counter(names)
    return [
        Study(
            name if counts[name] == 1 else f"{name} ({place.parent.name}/{place.name})",
            run,
            make_layout(run.results, run.about),
            Index(run.results),
        )
        for name, run, place in zip(names, runs, places, strict=True)
    ]


def same_samples(first: Study, second: Study, task: str) -> tuple[bool, str]:
    """Tell whether two studies asked the same questions about the same images, and what to say of it."""
    one, two = first.asked(task), second.asked(task)
    if one is None or two is None:
        return False, ""
    if sample_digest(one.records) != sample_digest(two.records):
        return False, "the questions of the test differ"
    images = [(study.run.manifest.get("test") or {}).get(task, {}) for study in (first, second)]
    hashes = [found.get("images_sha256") for found in images]
    if None in hashes:
        return True, "the questions are the same; whether the images are was not recorded"
    if hashes[0] != hashes[1]:
        return False, "the images of the test differ"
    return True, ""


def differing_settings(studies: Sequence[Study]) -> list[tuple[str, list[Any]]]:
    """Return the settings that are not the same in all studies, with their values; names are left out."""
    flat = [_flat(study.run.study) for study in studies]
    keys = dict.fromkeys(key for one in flat for key in one)
    rows = [(key, [one.get(key) for one in flat]) for key in keys if key not in ("study", "title")]
    return [(key, values) for key, values in rows if any(value != values[0] for value in values)]


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, inner in value.items():
        name = f"{before}{key}"
        if isinstance(inner, Mapping) and inner:
            found.update(_flat(inner, f"{name}."))
        elif isinstance(inner, list) and inner and all(isinstance(one, Mapping) for one in inner):
            for number, one in enumerate(inner):
                found.update(_flat(one, f"{name}.{one.get('name', number)}."))
        else:
            found[name] = inner
    return found
