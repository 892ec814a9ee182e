"""SLAKE (Liu et al. 2021, doi 10.1109/ISBI48211.2021.9434010, CC BY 4.0): questions on CT, MRI and X-ray.

The folder holds ``imgs/xmlabN/source.jpg`` with ``detection.json`` beside it, and ``train.json``,
``validation.json`` and ``test.json``, each an array of ``{qid, img_name, question, answer, q_lang,
answer_type, content_type, …}``; or Parquet files with the images inside.
"""

from collections.abc import Iterator, Sequence

from medpref.pairs.pair import Provenance
from medpref.pairs.sources.boxes import named_region
from medpref.pairs.sources.finding import image_roots, nothing_found, parquet_parts, shard_id, split_files
from medpref.pairs.sources.questions import kinds_of, pair_parts, question_row, text_of
from medpref.pairs.sources.reading import Reading, register
from medpref.pairs.sources.rows import Entry, FolderSettings, LeftOutError, Part, Row, require_folder

PROVENANCE = Provenance("SLAKE", licence="CC-BY-4.0")
FILES = {
    "train": ("train.json",),
    "validation": ("validation.json", "validate.json", "val.json"),
    "test": ("test.json",),
}
KINDS = {
    "modality": "modality",
    "position": "position",
    "organ": "organ",
    "size": "size",
    "abnormality": "abnormality",
    "quantity": "count",
    "plane": "plane",
    "shape": "attribute",
    "color": "colour",
    "kg": "other",
}
"""The question kinds by SLAKE's ``content_type``; its questions on a knowledge graph are ``other``."""


class SlakeSettings(FolderSettings):
    """Where the folder is, and which questions are read.

    Attributes:
        languages: the languages of the questions, by SLAKE's ``q_lang``.
        regions: mark what the question names where ``detection.json`` has a box for it.
    """

    languages: tuple[str, ...] = ("en",)
    regions: bool = True


def parts(settings: SlakeSettings) -> Sequence[Part]:
    """Return the files of the layout that the folder has. Raises `InputError` for none."""
    require_folder("SLAKE", settings.folder)
    found = split_files(settings.folder, FILES, parse) or parquet_parts(settings.folder, parse)
    if not found:
        raise nothing_found(
            "SLAKE",
            settings.folder,
            "Looked for train.json, validation.json and test.json, or Parquet files.",
        )
    return found


def parse(entry: Entry) -> Iterator[Row]:
    """Read a question. Raises as `Parse` says."""
    values = entry.values
    language = str(values.get("q_lang") or "en").strip().lower()
    if language not in entry.settings.languages:
        raise LeftOutError(f"their language is {language!r}")
    question = text_of(values, "question")
    images = entry.pictures.find(values.get("img_name", values.get("image")))
    kind = KINDS.get(str(values.get("content_type")).strip().lower())
    answer_type = str(values.get("answer_type") or "").strip().upper()
    yield question_row(
        entry,
        PROVENANCE,
        f"{entry.split}-{values['qid']}" if "qid" in values else shard_id(entry),
        question,
        text_of(values, "answer"),
        images,
        kinds=(kind,) if kind else kinds_of(question),
        closed=answer_type == "CLOSED" if answer_type else None,
        attributes={"organ": values.get("location"), "modality": values.get("modality")},
        region=named_region(question, images, entry.pictures) if entry.settings.regions else None,
    )


READING = Reading(
    name="SLAKE",
    licence="CC-BY-4.0",
    parts=parts,
    tasks=("slake",),
    roots=lambda settings: image_roots(settings, "imgs", "images"),
    pool=lambda settings: pair_parts(settings, PROVENANCE),
)
register("slake", "SLAKE: questions on CT, MRI and X-ray, with boxes", SlakeSettings, READING)
