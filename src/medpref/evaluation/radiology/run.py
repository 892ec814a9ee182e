"""Score reports by a metric of another package; what goes wrong leaves reports unscored, with the reason."""

import math
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache as remember
from importlib import metadata
from pathlib import Path

from medpref.evaluation.radiology.base import Metric, Unscored, metrics
from medpref.evaluation.radiology.cache import ScoreCache
from medpref.evaluation.radiology.process import Outcome, run_process
from medpref.files import content_hash, file_hash

_OFFLINE = "HF_HUB_OFFLINE"
# How loading fails where files of a model are missing.
_MISSING_FILES = re.compile(
    r"hugging ?face|\bhub\b|download|offline|connect|LocalEntryNotFound|FileNotFound", re.IGNORECASE
)
# After this many ends of the process that it did not announce, the rest stays unscored.
_ENDS = 3


def score_reports(
    metric: str,
    predictions: Sequence[str],
    golds: Sequence[str],
    *,
    cache: Path | None = None,
    python: str | Path | None = None,
    batch: int | None = None,
    timeout: float = 1800,
) -> list[float | Unscored]:
    """Score reports in a process of their own.

    A missing package, a missing model, an import error, a crash, too little memory or time: all leave the
    reports concerned unscored. Nothing is downloaded unless the environment has ``HF_HUB_OFFLINE=0``.

    Args:
        metric: a name in `medpref.evaluation.radiology.metrics`.
        predictions: the reports as generated. A blank one says nothing and scores 0 where the metric can be
            had, whatever the metric itself would make of it.
        golds: the references, in step. A blank one leaves its report unscored.
        cache: a folder for scores by content, which is kept between runs; no text is kept. None for none.
        python: the interpreter of an environment that has the metric's package, for packages that do not
            fit beside medpref's; medpref need not be there. By default the one that runs this.
        batch: reports at a time; by default the metric's own number.
        timeout: seconds that loading the models, or one batch, may take.

    Returns:
        A score in [0, 1] or the reason for having none, for each report.

    Raises:
        InputError: there is no such metric.
        ValueError: there are not as many predictions as references, or `batch` is not positive.
        RunError: the cache cannot be written.
    """
    chosen = metrics[metric]
    if len(predictions) != len(golds):
        raise ValueError(f"{len(predictions)} predictions, {len(golds)} references")
    if batch is not None and batch < 1:
        raise ValueError(f"batch is {batch}, it has to be positive")
    pairs = list(zip(predictions, golds, strict=True))
    results: dict[tuple[str, str], float | Unscored | None]
    results = {pair: None if pair[1].strip() else Unscored("the reference is empty") for pair in pairs}
    asked = [pair for pair, result in results.items() if result is None]
    interpreter = str(python) if python else sys.executable
    kept = ScoreCache(cache / f"{metric}.jsonl") if cache else None
    keys = _keys(metric, chosen, interpreter, asked) if kept else {}
    known = kept.read() if kept else {}
    results |= {pair: known.get(key) for pair, key in keys.items()}
    missing = [pair for pair in asked if results[pair] is None]
    found = _computed(chosen, interpreter, missing, batch or chosen.batch, timeout)
    if kept and found:
        kept.add({keys[pair]: value for pair, value in found.items() if isinstance(value, float)})
    results |= found
    return [result for pair in pairs if (result := results[pair]) is not None]


def _computed(
    metric: Metric, python: str, pairs: Sequence[tuple[str, str]], batch: int, timeout: float
) -> dict[tuple[str, str], float | Unscored]:
    """Return a result for each of `pairs`; a process that ends early is followed by another for the rest."""
    results: dict[tuple[str, str], float | Unscored] = {}
    rest, environment = list(pairs), _environment(python)
    for attempt in range(1, _ENDS + 1):
        if not rest:
            break
        outcome = run_process(
            python, metric.scorer, rest, batch=batch, timeout=timeout, environment=environment
        )
        results |= {pair: _checked(value) for pair, value in zip(rest, outcome.values, strict=False)}
        rest = rest[len(outcome.values) :]
        lost = rest[:batch] if outcome.loaded and attempt < _ENDS else rest
        reason = Unscored(_reason(metric, outcome, environment))
        results |= dict.fromkeys(lost, reason)
        rest = rest[len(lost) :]
    return results


def _checked(value: float | str) -> float | Unscored:
    if isinstance(value, str):
        return Unscored(value)
    if not math.isfinite(value) or not -1e-6 <= value <= 1 + 1e-6:
        return Unscored(f"the metric gave {value:g}, which is no score between 0 and 1")
    return min(1.0, max(0.0, value))


def _reason(metric: Metric, outcome: Outcome, environment: Mapping[str, str]) -> str:
    """Return why the process scored nothing more, with what to do about it."""
    reason = outcome.reason or "the process gave no result"
    if outcome.module and outcome.module.split(".")[0] == metric.package:
        return f"{metric.distribution} is not installed: pip install 'medpref[{metric.extra}]'"
    if outcome.module:
        return f"{reason} (needed by {metric.distribution})"
    online = environment[_OFFLINE].strip().lower() in ("", "0", "false", "no", "off")
    if online or outcome.loaded or not _MISSING_FILES.search(reason):
        return reason
    return (
        f"{reason} (it needs {metric.models}; nothing is downloaded while {_OFFLINE} is "
        f"{environment[_OFFLINE]}: set it to 0 for one run, or put the files into the cache)"
    )


def _environment(python: str) -> dict[str, str]:
    """Return the process's environment: ours, offline unless it says otherwise."""
    environment = {_OFFLINE: "1", "TOKENIZERS_PARALLELISM": "false", **os.environ}
    if python != sys.executable:
        environment.pop("PYTHONPATH", None)  # which names packages of this environment
    return environment


def _keys(
    name: str, metric: Metric, python: str, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """Return the keys of `pairs` in the cache; another version of scorer or package has other keys."""
    how = (name, file_hash(metric.scorer), _version(python, metric.distribution))
    return {pair: content_hash(*how, *pair) for pair in pairs}


@remember
def _version(python: str, distribution: str) -> str:
    """Return the version of a package in the environment of `python`, empty where it has none."""
    if python == sys.executable:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            return ""
    code = f"import importlib.metadata as m; print(m.version({distribution!r}))"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
