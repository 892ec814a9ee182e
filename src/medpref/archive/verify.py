"""Compute a study's numbers anew from its archive, and compare."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medpref import __version__
from medpref.archive.contents import LOGS, RESULTS, RUN, SAMPLES
from medpref.archive.pack import ABOUT
from medpref.archive.rescore import lines, rescore
from medpref.archive.sums import check_sums
from medpref.archive.tar import unpack_tar
from medpref.errors import InputError
from medpref.evaluation.log import EvaluationLog, read_logs
from medpref.evaluation.looking import read_judged_errors
from medpref.evaluation.results import build_results
from medpref.evaluation.samples import sample_digest
from medpref.files import read_json, write_json
from medpref.pairs.sample import read_samples
from medpref.report import Images, write_report
from medpref.report.cards import CARDS
from medpref.report.page import PAGE
from medpref.report.sheets import TABLES
from medpref.study.manifest import read_manifest

_LAST_DIGIT = 1.5e-6
"""Results are rounded to six decimals: sums in another order may round the last one the other way."""
_MOST_LINES = 10


class Check(NamedTuple):
    """Something that was verified: what it says, and the faults, of which none is left if it `passed`."""

    name: str
    passed: bool
    text: str
    faults: tuple[str, ...] = ()


def verify(archive: Path) -> Iterator[Check]:
    """Verify an archive that `pack` wrote, each check as soon as it is done.

    Nothing of the archive is run, and nothing is written but a temporary folder. That the answers are those
    of the models cannot be verified without these; their fingerprints are in the logs.

    Raises:
        InputError: the archive cannot be used: it is cut short, holds more than plain files below one folder,
            or has no logs.
    """
    with tempfile.TemporaryDirectory(prefix="medpref-") as work:
        folder = unpack_tar(archive, Path(work))
        faults = check_sums(folder)
        yield _check("files", "every file has its hash", faults)
        logs = read_logs(folder / LOGS)
        if not logs:
            raise InputError("there are no logs", where=f"{archive}, {LOGS}")
        yield _questions(folder, logs)
        yield _scores(folder, logs)
        yield _results(folder, logs)
        yield _pages(folder)


def _check(name: str, text: str, faults: Sequence[str]) -> Check:
    if not faults:
        return Check(name, True, text)
    more = [f"and {len(faults) - _MOST_LINES} more"] if len(faults) > _MOST_LINES else []
    return Check(name, False, f"{len(faults)} faults", (*faults[:_MOST_LINES], *more))


def _questions(folder: Path, logs: Sequence[EvaluationLog]) -> Check:
    """Compare what the logs asked with the hashes that the run kept."""
    kept = read_manifest(folder).get("test") or {}
    faults = []
    asked = 0
    for log in logs:
        about = log.header
        if about.condition == "normal" and about.task in kept:
            asked += 1
            if sample_digest(log.records) != kept[about.task]["sha256"]:
                faults.append(f"{about.task}: {about.backbone} {about.method} was asked something else")
    return _check("questions", f"{asked} logs asked what the hashes of the run say", faults)


def _scores(folder: Path, logs: Sequence[EvaluationLog]) -> Check:
    samples = {path.stem: read_samples(path) for path in sorted((folder / SAMPLES).glob("*.jsonl"))}
    found = rescore(logs, samples)
    unknown = [f"{count:,} not: {reason}" for reason, count in sorted(found.unknown.items())]
    text = "; ".join([f"{found.scores:,} scores of answers computed anew", *unknown])
    # Without one score nothing was verified.
    faults = list(lines(found.faults, len(found.faults))) or ([] if found.scores else [text])
    return _check("scores", text, faults)


def _results(folder: Path, logs: Sequence[EvaluationLog]) -> Check:
    about = read_json(folder / RUN)
    packed = read_json(folder / RESULTS)
    try:
        computed = build_results(
            logs,
            study=packed["study"],
            controls=about["study"]["controls"],
            headline=[(figure[0], figure[1], figure[2]) for figure in about["headline"]],
            slices=about["slices"],
            judged=read_judged_errors(folder / LOGS),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(f"results cannot be computed: {error!r} is missing", where=RUN) from None
    again = folder.parent / RESULTS
    write_json(again, computed)
    if again.read_bytes() == (folder / RESULTS).read_bytes():
        rows = len(computed["rows"]) + len(computed["comparisons"])
        return Check("results", True, f"{rows:,} scores and comparisons are the same, byte for byte")
    differing = list(_differing(packed, computed))
    near = [one for one in differing if one.by is not None and one.by <= _LAST_DIGIT]
    faults = [one.text for one in differing if one not in near]
    return _check("results", f"the same, but for the last digit of {len(near):,} numbers", faults)


class _Difference(NamedTuple):
    text: str
    by: float | None = None


def _differing(packed: Any, computed: Any, where: str = RESULTS) -> Iterator[_Difference]:
    """Yield every place where two JSON values differ; `by` how much for numbers."""
    if isinstance(packed, Mapping) and isinstance(computed, Mapping):
        for key in [*packed, *(key for key in computed if key not in packed)]:
            yield from _differing(packed.get(key), computed.get(key), f"{where}, {key}")
    elif isinstance(packed, list) and isinstance(computed, list) and len(packed) == len(computed):
        for number, (one, other) in enumerate(zip(packed, computed, strict=True), start=1):
            yield from _differing(one, other, f"{where} {number}")
    elif packed != computed:
        text = f"{where}: {_short(packed)} is packed, and {_short(computed)} computed"
        numbers = isinstance(packed, float | int) and isinstance(computed, float | int)
        yield _Difference(text, abs(packed - computed) if numbers else None)


def _short(value: Any) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else f"{value!r:.60}"


def _pages(folder: Path) -> Check:
    """Write report, tables and cards anew, and compare them with those that were packed."""
    about = read_json(folder / ABOUT)
    before = _made(folder)
    write_report(folder, Images.EMBED if about["images"] else Images.NONE, about["authors"])
    after = _made(folder)
    names = sorted(before.keys() | after.keys())
    faults = [f"{name} comes out otherwise" for name in names if before.get(name) != after.get(name)]
    if faults and about["medpref"] != __version__:
        faults.append(f"it was packed by medpref {about['medpref']}, this is {__version__}")
    return _check("pages", f"report, {len(after) - 1} tables and cards come out the same", faults)


def _made(folder: Path) -> dict[str, bytes]:
    files = [folder / PAGE, *(folder / TABLES).glob("*"), *(folder / CARDS).glob("*")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files if path.is_file()}
