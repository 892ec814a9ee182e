"""What of a run goes into its archive, with the places of this machine left out."""

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from medpref.errors import InputError
from medpref.evaluation.log import EvaluationLog, read_log, read_logs
from medpref.files import content_hash, read_json, write_bytes
from medpref.pairs.sample import Sample, read_samples
from medpref.report.details import without_places
from medpref.study.manifest import MANIFEST, make_manifest

LOGS, SAMPLES, ELSEWHERE = "logs", "samples", "elsewhere"
RESULTS, RUN, STUDY = "results.json", "run.json", "study.json"
_EVALUATION = ".eval.jsonl"
_TEXT = (".json", ".jsonl")


def gather(run: Path, folder: Path, *, images: bool) -> None:
    """Copy what an archive holds, but for what is made of it, into an empty folder.

    These are results.json, run.json, study.json, all logs with their manifest, the test's samples with their
    choices and, on request, the images that the logs name. No weights, no pairs and no training rows.

    Raises:
        InputError: the run is not finished, or a file is a link or broken.
    """
    for name in (RESULTS, RUN):
        if not (run / name).is_file():
            raise InputError(
                f"there is no {name}",
                where=str(run),
                remedy="Name the folder of a study that has run to its end.",
            )
    _put(folder / RESULTS, (run / RESULTS).read_bytes())
    for name in (RUN, STUDY):
        if (run / name).is_file():
            _put_json(folder / name, without_places(read_json(run / name)))
    for path in _logs(run):
        _copy_log(path, folder / path.relative_to(run))
    if not (folder / LOGS / MANIFEST).is_file():
        # A run of an earlier version has not kept its hashes.
        _put_json(folder / LOGS / MANIFEST, make_manifest(run, read_logs(run / LOGS)))
    # The test is the same for all seeds, also where the rest of the data is drawn for each.
    tests = {path.name: path for path in sorted((run / "stages" / "data").rglob("test.*.jsonl"))}
    for name, path in tests.items():
        task = name.removeprefix("test.")
        rows = [_sample_row(sample) for sample in read_samples(path)]
        _put_lines(folder / SAMPLES / task, rows)
    if images:
        _copy_images(run, folder)


def _logs(run: Path) -> Iterator[Path]:
    for path in sorted((run / LOGS).rglob("*")):
        if path.is_symlink():
            raise InputError("this is a link, which an archive does not hold", where=str(path))
        if path.is_file() and path.suffix in _TEXT:
            yield path


def _copy_log(path: Path, target: Path) -> None:
    if path.name.endswith(_EVALUATION):
        log = _without_folders(read_log(path))
        _put_lines(target, [asdict(log.header), *map(asdict, log.records)])
    elif path.name == "data.json":
        _put_json(target, without_places(read_json(path)))
    else:
        _put(target, path.read_bytes())


# The folder is temporary: to wait for the disk after every file would take minutes.
def _put(path: Path, data: bytes) -> None:
    write_bytes(path, data, durable=False)


def _put_json(path: Path, value: Any) -> None:
    _put(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def _put_lines(path: Path, rows: Iterable[Any]) -> None:
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    _put(path, "".join(lines).encode())


def _without_folders(log: EvaluationLog) -> EvaluationLog:
    records = (
        replace(
            record,
            images=tuple(map(archived, record.images)),
            region=archived(record.region) if record.region else None,
        )
        for record in log.records
    )
    return EvaluationLog(log.header, tuple(records))


def archived(name: str) -> str:
    """Return where an archive has a file that a log names: below the run as it is, others by their name."""
    path = Path(name)
    if not path.is_absolute() and ".." not in path.parts:
        return path.as_posix()
    return f"{ELSEWHERE}/{content_hash(str(path.parent))[:8]}/{path.name}"


def _sample_row(sample: Sample) -> dict[str, object]:
    """Return what scores are computed from; files and earlier turns are not among it."""
    return {
        "id": sample.id,
        "prompt": sample.prompt,
        "images": [],
        "gold": sample.gold,
        "kinds": list(sample.kinds),
        "closed": sample.closed,
        "choices": list(sample.choices),
        "cluster": sample.cluster,
    }


def _copy_images(run: Path, folder: Path) -> None:
    for name in sorted(_named(read_logs(run / LOGS))):
        source = run / name
        if source.is_file():
            target = folder / archived(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _named(logs: Iterable[EvaluationLog]) -> set[str]:
    """Return the image and mask files that samples were asked with as they are."""
    records = (record for log in logs if log.header.condition == "normal" for record in log.records)
    return {name for record in records for name in (*record.images, record.region) if name}
