"""What a study rests on, by hashes: the rows of its data and pairs, the images it asks, and its models.

Two studies with the same hashes were trained on the same rows and asked the same questions about the same
images, wherever their files lie.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any

from medpref.evaluation.log import EvaluationLog
from medpref.evaluation.samples import sample_digest
from medpref.files import cached_file_hash, read_json, read_jsonl

MANIFEST = "manifest.json"
_PAIRS = "pairs.jsonl"


def make_manifest(run: Path, logs: Iterable[EvaluationLog]) -> dict[str, Any]:
    """Return the hashes of a run, all SHA-256 but for the models' fingerprints.

    Args:
        run: the run's folder, its stages in place; what they do not have is left out.
        logs: its evaluation logs.

    Returns:
        - ``test``: by task, samples, sha256 (ids, prompts, references and clusters), images and
          images_sha256 (the bytes of the image files; None where one is missing)
        - ``data`` and ``pairs``: by file and by pair set, rows and sha256 (the rows without the folders of
          their files)
        - ``models``: fingerprints by BACKBONE/seed-SEED/METHOD
    """
    asked: dict[str, EvaluationLog] = {}
    models = {}
    for log in logs:
        about = log.header
        if about.model is None:
            continue
        models[f"{about.backbone}/seed-{about.seed}/{about.method}"] = about.model
        if about.condition == "normal":
            asked.setdefault(about.task, log)
    stages = run / "stages"
    return {
        "test": {task: _asked(run, log) for task, log in sorted(asked.items())},
        "data": {
            # Data that is drawn for each seed lies in a folder for each.
            path.relative_to(stages / "data").with_suffix("").as_posix(): _rows(path)
            for path in sorted((stages / "data").rglob("*.jsonl"))
        },
        "pairs": {
            path.parent.relative_to(stages / "pairs").as_posix(): _rows(path)
            for path in sorted((stages / "pairs").rglob(_PAIRS))
        },
        "models": dict(sorted(models.items())),
    }


def _asked(run: Path, log: EvaluationLog) -> dict[str, Any]:
    images = {name for record in log.records for name in record.images}
    return {
        "samples": len(log.records),
        "sha256": sample_digest(log.records),
        "images": len(images),
        "images_sha256": _images(run, log),
    }


def _images(run: Path, log: EvaluationLog) -> str | None:
    """Return a hash of each sample's image files; their names and places make no difference."""
    digest = hashlib.sha256()
    for record in sorted(log.records, key=lambda record: record.id):
        files = [run / name for name in record.images]
        if not all(file.is_file() for file in files):
            return None
        digest.update(json.dumps([record.id, *map(cached_file_hash, files)]).encode())
    return digest.hexdigest()


def _rows(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    count = 0
    for line in _plain_rows(path):
        digest.update(line.encode("utf-8", "backslashreplace") + b"\n")
        count += 1
    return {"rows": count, "sha256": digest.hexdigest()}


def _plain_rows(path: Path) -> Iterator[str]:
    for _, row in read_jsonl(path):
        yield json.dumps(_without_folders(row), sort_keys=True, ensure_ascii=False)


def _without_folders(value: Any) -> Any:
    """Return a row whose absolute paths are cut to the file's name."""
    if isinstance(value, dict):
        return {key: _without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    if isinstance(value, str) and "\n" not in value and PurePath(value).is_absolute():
        return PurePath(value).name
    return value


def read_manifest(run: Path) -> dict[str, Any]:
    """Return the hashes that were kept with the logs, empty where there are none."""
    path = run / "logs" / MANIFEST
    found: dict[str, Any] = read_json(path) if path.is_file() else {}
    return found
