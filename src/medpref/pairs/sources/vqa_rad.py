"""VQA-RAD (Lau et al. 2018, doi 10.1038/sdata.2018.251, CC0): clinicians' questions on X-ray, CT and MRI.

Three layouts are read:

- ``images/`` with ``qa.jsonl``, one question a line (qid, image, question, answer, answer_type,
  question_type, split, standard), and ``preference_mmedpo.jsonl``, the published MMedPO pairs (qid, image,
  question, chosen, rejected, weight)
- the authors' own: ``VQA_RAD Dataset Public.json`` with ``VQA_RAD Image Folder/``
- Parquet files of ``{image, question, answer}`` with the images inside
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from medpref.pairs.pair import Provenance
from medpref.pairs.sources.base import sources
from medpref.pairs.sources.finding import first_there, image_roots, nothing_found, parquet_parts, shard_id
from medpref.pairs.sources.questions import kinds_of, pair_parts, parse_any, question_row, text_of
from medpref.pairs.sources.reading import VISUAL_KINDS as NAMED_VISUAL_KINDS
from medpref.pairs.sources.reading import Reading
from medpref.pairs.sources.records import read_records
from medpref.pairs.sources.rows import Entry, FolderSettings, LeftOutError, Part, Row, require_folder
from medpref.pairs.sources.splits import split_name

QUESTIONS = "qa.jsonl"
PAIRS = "preference_mmedpo.jsonl"
ORIGINAL = ("VQA_RAD Dataset Public.json", "VQA_RAD_Dataset_Public.json", "VQA_RAD Dataset.json")
ORIGINAL_IMAGES = ("VQA_RAD Image Folder", "VQA_RAD_Image_Folder")
VISUAL_KINDS = ("pres", "pos", "abn", "size", "attrib", "color", "count")
"""The question types, in lower case, that ask for what is found; the others ask how it was taken."""
TYPOS = {"atrib": "attrib", "prse": "pres", "colour": "color"}
"""Question types as the original file misspells them."""

PROVENANCE = Provenance("VQA-RAD", licence="CC0-1.0")
PUBLISHED = Provenance("MMedPO on VQA-RAD", "written by a model", licence="Apache-2.0")


class VqaRadSettings(FolderSettings):
    """Where the folder is. Train and test are the standard split (free-form and paraphrased questions)."""


def parts(settings: VqaRadSettings) -> Sequence[Part]:
    """Return the file or files of the layout that the folder has. Raises `InputError` for none."""
    require_folder("VQA-RAD", settings.folder)
    if (settings.folder / QUESTIONS).is_file():
        return [Part(settings.folder / QUESTIONS, None, parse)]
    original = first_there(settings.folder, ORIGINAL)
    found = [Part(original, None, parse)] if original else parquet_parts(settings.folder, parse_bare)
    if not found:
        raise nothing_found(
            "VQA-RAD", settings.folder, f"Looked for {QUESTIONS}, {ORIGINAL[0]} and Parquet files."
        )
    return found


def parse(entry: Entry) -> Iterator[Row]:
    """Read a question of either JSON layout. Raises as `Parse` says."""
    values = entry.values
    phrase = str(values.get("phrase_type") or "").strip().lower()
    if not values.get("standard", not phrase.endswith("frame")):
        raise LeftOutError("they are no part of the standard split")
    answer_type = str(values.get("answer_type") or "").strip().upper()
    yield question_row(
        entry,
        PROVENANCE,
        f"qid-{values['qid']}",
        text_of(values, "question"),
        text_of(values, "answer"),
        entry.pictures.find(values.get("image", values.get("image_name"))),
        split=split_name(values["split"]) if "split" in values else _split_of(phrase),
        kinds=read_kinds(values.get("question_type")),
        closed=answer_type == "CLOSED" if answer_type else None,
        attributes={"organ": values.get("image_organ")},
    )


def _split_of(phrase: str) -> str:
    """The original file tells its test questions by ``test_`` before the phrase type."""
    return "test" if phrase.startswith("test") else "train"


def parse_bare(entry: Entry) -> Iterator[Row]:
    """Read a question of the Parquet files, which tell no types. Raises as `Parse` says."""
    question = text_of(entry.values, "question")
    images = entry.pictures.find(entry.values["image"])
    answer = text_of(entry.values, "answer")
    yield question_row(entry, PROVENANCE, shard_id(entry), question, answer, images, kinds=kinds_of(question))


def read_kinds(value: Any) -> tuple[str, ...]:
    """Return question types, a list or a text with commas, in lower case and without typos."""
    named = value.split(",") if isinstance(value, str) else list(value or ())
    kinds = (str(name).strip().lower() for name in named)
    return tuple(dict.fromkeys(TYPOS.get(kind, kind) for kind in kinds if kind)) or ("other",)


def pool(settings: VqaRadSettings) -> list[Part]:
    """Return the pairs that the settings name, else the published ones where the folder has them."""
    path = settings.folder / PAIRS
    if settings.pairs is not None or not path.is_file() or not (settings.folder / QUESTIONS).is_file():
        return pair_parts(settings, PROVENANCE)
    return [Part(path, "train", partial(parse_published, kinds=_kinds_by_question(settings.folder)))]


def _kinds_by_question(folder: Path) -> dict[str, str]:
    rows = (record.values for record in read_records(folder / QUESTIONS) if not record.fault)
    return {str(row["qid"]): read_kinds(row.get("question_type"))[0] for row in rows if "qid" in row}


def parse_published(entry: Entry, kinds: Mapping[str, str]) -> Iterator[Row]:
    """Read a published pair, whose kind is its question's. Raises as `Parse` says."""
    kind = kinds.get(str(entry.values.get("qid")))
    for row in parse_any(entry, PUBLISHED):
        yield replace(row, pair=replace(row.pair, kind=kind), kinds=(kind,) if kind else ())


def notes(settings: VqaRadSettings) -> list[str]:
    """Return what is to be said of the published pairs."""
    if settings.pairs is not None or not (settings.folder / PAIRS).is_file():
        return []
    return ["Rejected responses were written by a model; weights are the published clinical relevance."]


READING = Reading(
    name="VQA-RAD, standard split",
    licence="VQA-RAD CC0-1.0; MMedPO pairs Apache-2.0",
    parts=parts,
    roots=lambda settings: image_roots(settings, "images", *ORIGINAL_IMAGES),
    pool=pool,
    notes=notes,
    tasks=("vqa-rad",),
)
sources.add(
    "vqa-rad",
    READING.source(
        "VQA-RAD's standard split with the published MMedPO preference pairs",
        VqaRadSettings,
        (*VISUAL_KINDS, *(kind for kind in NAMED_VISUAL_KINDS if kind not in VISUAL_KINDS)),
    ),
)
