"""What a run's data was: counts, licences, leakage, and what was not used."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medpref.files import read_json, read_jsonl
from medpref.study.graph import LEAKAGE as LEAKAGE_STAGE
from medpref.study.stage import Stage, stage_folder
from medpref.study.stages.data import LEAKAGE
from medpref.study.stages.pairs import LEFT_OUT


def data_facts(folder: Path, stages: dict[str, Stage]) -> dict[str, Any]:
    """Return what the data stage told of the data, with what became of the pairs later.

    Added are the pairs that were too long for a backbone, and under ``left_out`` those that a recipe made
    nothing of.
    """
    read = {
        name: read_json(stage_folder(folder, name) / "data.json")
        for name, stage in stages.items()
        if stage.work == "data"
    }
    if LEAKAGE_STAGE in stages:
        uses = {name: stages[name].params["use"] for name in read}
        leakage = read_json(stage_folder(folder, LEAKAGE_STAGE) / LEAKAGE)
        facts = {**_facts_of_sets(read, uses), "leakage": leakage}
    else:
        facts = _facts_of_all(list(read.values()))
    facts["left_out"] = {}
    for name, stage in stages.items():
        if stage.work == "pairs":
            rows = [row for _, row in read_jsonl(stage_folder(folder, name) / LEFT_OUT)]
            reasons = Counter(f"{name}: {row['recipe']}: {row['reason']}" for row in rows)
            facts["left_out"].update(sorted(reasons.items()))
        skipped = stage_folder(folder, name) / "too-long.jsonl"
        # A reference pass skips the same pairs as the training that it is for.
        if skipped.is_file() and not name.startswith("reference/"):
            count = sum(1 for _ in read_jsonl(skipped))
            if count:
                facts["quarantined"][f"{name}: too long for the backbone"] = count
    return facts


def _facts_of_sets(read: Mapping[str, dict[str, Any]], uses: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the facts of several sets together; rows of splits that are not used are not counted."""
    names = {stage: stage.removeprefix("data/") for stage in read}
    sources = dict.fromkeys(str(facts.get("source")) for facts in read.values())
    licences = dict.fromkeys(f"{names[stage]}: {facts.get('licence')}" for stage, facts in read.items())
    return {
        "source": ", ".join(sources),
        "licence": "; ".join(licences),
        "notes": [
            f"{names[stage]}: {note}" for stage, facts in read.items() for note in facts.get("notes", [])
        ],
        "counts": {
            f"{names[stage]}: {split}": count
            for stage, facts in read.items()
            for split, count in facts["counts"].items()
            if split.split("/")[0] in uses[stage]
        },
        "quarantined": {
            f"{names[stage]}: {reason}": count
            for stage, facts in read.items()
            for reason, count in facts["quarantined"].items()
        },
    }


def _facts_of_all(read: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the facts of the data; of data drawn for each seed, the first's, with the most leaks of any."""
    facts = dict(read[0])
    if len(read) > 1:
        facts["notes"] = [
            *facts.get("notes", []),
            f"Train, pool and validation are drawn anew for each of {len(read)} seeds; the test is the same.",
        ]
        leaked = [each["leakage"]["also_in_train"] for each in read]
        facts["leakage"] = {**facts["leakage"], "also_in_train": max(leaked)}
        facts["quarantined"] = dict(sum((Counter(each["quarantined"]) for each in read), Counter()))
    return facts
