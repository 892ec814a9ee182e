"""VQA-RAD (Lau et al. 2018, doi 10.1038/sdata.2018.251, CC0) with the published MMedPO preference pairs.

The folder holds ``images/``, ``qa.jsonl`` with one question a line (qid, image, question, answer,
answer_type, question_type, split, standard) and
``preference_mmedpo.jsonl`` with one pair a line (qid, image, question, chosen, rejected, weight).
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from medpref.errors import InputError
from medpref.files import UserPath, content_hash, file_hash, read_jsonl
from medpref.pairs.check import faults
from medpref.pairs.formats import with_placeholders
from medpref.pairs.images import image_fault
from medpref.pairs.pair import ImageRole, Pair, Provenance, ResponseRole
from medpref.pairs.sample import Sample
from medpref.pairs.sources.base import Advance, DataSet, Source, SourceSettings, sources
from medpref.pairs.store import PairFile, Quarantined, decode_lines, read_pairs

QUESTIONS = "qa.jsonl"
PAIRS = "preference_mmedpo.jsonl"
VISUAL_KINDS = ("pres", "pos", "abn", "size", "attrib", "color", "count")
"""The question types, in lower case, that ask for what is found; the others ask how it was taken."""


PUBLISHED = Provenance("MMedPO on VQA-RAD", "written by a model", licence="Apache-2.0")


class VqaRadSettings(SourceSettings):
    """Where the folder is. Train and test are the standard split (free-form and paraphrased questions)."""

    folder: UserPath


def load(settings: VqaRadSettings, folder: Path, fatal: bool, advance: Advance) -> DataSet:
    """Read questions and pairs; rows with a fault are put aside, or raise if `fatal`."""
    questions = _questions(settings)
    images = settings.folder / "images"
    rows = {split: [row for row in questions if row["split"] == split] for split in ("train", "test")}
    train, refused = _supervised(rows["train"], images, fatal)
    samples, unasked = _samples(rows["test"], images, fatal)
    known, _ = _samples(rows["train"], images, fatal)
    published = read_pairs(settings.folder / PAIRS, images=images, fatal=fatal)
    kinds = _kinds_of_pairs(settings, questions)
    pool = [replace(pair, kind=kinds.get(pair.id), provenance=PUBLISHED) for pair in published.pairs]
    facts = {
        "source": "VQA-RAD, standard split; MMedPO preference pairs",
        "licence": "VQA-RAD CC0-1.0; MMedPO pairs Apache-2.0",
        "notes": [
            "Rejected responses were written by a model; weights are the published clinical relevance."
        ],
    }
    refused_file = PairFile(settings.folder / QUESTIONS, (), (*refused, *unasked))
    return DataSet(
        train,
        pool,
        {("train", "vqa-rad"): known, ("test", "vqa-rad"): samples},
        facts,
        (refused_file, published),
    )


def _questions(settings: VqaRadSettings) -> list[dict[str, Any]]:
    if not settings.folder.is_dir():
        raise InputError(
            "the VQA-RAD folder is not there",
            where=str(settings.folder),
            remedy="Name it with --set data.folder=PATH, or in the study.",
        )
    rows = [{**row, "line": line} for line, row in read_jsonl(settings.folder / QUESTIONS)]
    return [row for row in rows if row.get("standard", True)]


def _supervised(
    rows: Iterable[dict[str, Any]], images: Path, fatal: bool
) -> tuple[list[Pair], list[Quarantined]]:
    pairs, refused = [], []
    for row in rows:
        image = images / row["image"]
        pair = Pair(
            id=f"qid-{row['qid']}",
            prompt=with_placeholders(row["question"], 1),
            images={ImageRole.CLEAN: (image,)},
            responses={ResponseRole.CHOSEN: str(row["answer"])},
            kind=_kinds(row)[0],
            provenance=Provenance("VQA-RAD", licence="CC0-1.0"),
        )
        reasons = list(faults(pair))
        if reasons and fatal:
            raise InputError(reasons[0], where=f"{QUESTIONS}, line {row['line']}, pair {pair.id}")
        if reasons:
            refused.append(Quarantined(row["line"], pair.id, "; ".join(reasons), row["question"]))
        else:
            pairs.append(pair)
    return pairs, refused


def _samples(
    rows: Iterable[dict[str, Any]], images: Path, fatal: bool
) -> tuple[list[Sample], list[Quarantined]]:
    samples, refused = [], []
    for row in rows:
        image = images / row["image"]
        fault = image_fault(image)
        if fault and fatal:
            raise InputError(fault, where=f"{QUESTIONS}, line {row['line']}, qid {row['qid']}: {image.name}")
        if fault:
            refused.append(
                Quarantined(row["line"], str(row["qid"]), f"{fault}: {image.name}", row["question"])
            )
            continue
        samples.append(
            Sample(
                id=f"qid-{row['qid']}",
                prompt=with_placeholders(row["question"], 1),
                images=(image,),
                gold=str(row["answer"]),
                kinds=_kinds(row),
                closed=str(row["answer_type"]).strip().upper() == "CLOSED",
                cluster=row["image"],
            )
        )
    return samples, refused


def _kinds(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(kind.lower() for kind in row["question_type"]) or ("other",)


def _published_rows(settings: VqaRadSettings) -> list[dict[str, Any]]:
    """Return the rows of the pair file that can be decoded; `read_pairs` puts the others aside."""
    lines = (settings.folder / PAIRS).read_text(encoding="utf-8").split("\n")
    rows = (row for _, row, fault in decode_lines(lines) if fault is None)
    return [row for row in rows if isinstance(row, dict)]


def _kinds_of_pairs(settings: VqaRadSettings, questions: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Map a published pair's id to its question's kind: the pairs carry only the question's id."""
    by_question = {row["qid"]: _kinds(row)[0] for row in questions}
    rows = (row for row in _published_rows(settings) if row.get("qid") in by_question)
    return {str(row.get("id", row["qid"])): by_question[row["qid"]] for row in rows}


def texts(settings: VqaRadSettings) -> list[str]:
    """Return the train split's questions, answers and rejected responses."""
    rows = [row for row in _questions(settings) if row["split"] == "train"]
    rejected = (str(row["rejected"]) for row in _published_rows(settings) if "rejected" in row)
    return [*(str(row[key]) for row in rows for key in ("question", "answer")), *rejected]


def digest(settings: VqaRadSettings) -> str:
    """Return a hash of both files and of the images' names and sizes."""
    images = sorted((path.name, path.stat().st_size) for path in (settings.folder / "images").glob("*"))
    files = [settings.folder / name for name in (QUESTIONS, PAIRS)]
    return content_hash([file_hash(file) if file.is_file() else None for file in files], images)


sources.add(
    "vqa-rad",
    Source(
        summary="VQA-RAD's standard split with the published MMedPO preference pairs",
        settings=VqaRadSettings,
        tasks=("vqa-rad",),
        load=load,
        texts=texts,
        digest=digest,
        visual_kinds=VISUAL_KINDS,
    ),
)
