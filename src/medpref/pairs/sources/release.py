"""The files of the study's own release, and others of their shapes.

Questions are JSON Lines of ``{question_id, image, text, gpt4_answer, answer_type}``, reports are rows of
``{id, report, image_path: […]}``, captions of ``{image_path, caption}``. Pairs are a JSON array of ``{id,
image, rejected_image, weighted_score, conversations, rejected_conversations}``. A file may mix them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pydantic import model_validator

from medpref.files import UserPath
from medpref.pairs.pair import Provenance
from medpref.pairs.sources.questions import pair_parts, parse_any
from medpref.pairs.sources.reading import Reading, register
from medpref.pairs.sources.reports import patient_of
from medpref.pairs.sources.rows import Entry, Part, ReadSettings, Row

CLOSED = {"CLOSED": True, "OPEN": False}
LONG_FORM = {"report": "report", "caption": "caption"}
"""The kinds of rows that have such a key and no question."""
TASKS = {"report": "mimic-cxr", "caption": "amboss"}
"""What rows of a kind are asked as; all others are questions."""


class ReleaseSettings(ReadSettings):
    """Where the files are.

    Attributes:
        train: pairs, whose chosen side the SFT model learns; also the pool where `pairs` names no other file.
            Without them a model can only be asked.
        validation, test: questions, reports or captions with the right answer.
        images: the folder that image paths start from; each file's own folder where not given.
        licence: told in the report and kept with every pair.
    """

    train: UserPath | None = None
    validation: UserPath | None = None
    test: UserPath | None = None
    images: UserPath | None = None
    licence: str = "not stated"

    @model_validator(mode="after")
    def _name_a_file(self) -> "ReleaseSettings":
        if self.train is None and self.test is None:
            raise ValueError("name the file of pairs (train), or of questions, reports or captions (test)")
        return self


def parts(settings: ReleaseSettings) -> Sequence[Part]:
    """Return the files that the settings name."""
    named = {"train": settings.train, "validation": settings.validation, "test": settings.test}
    return [Part(path, split, parse) for split, path in named.items() if path is not None]


def parse(entry: Entry) -> Iterator[Row]:
    """Read a row of any shape. Raises as `Parse` says."""
    values = entry.values
    long_form = next((kind for key, kind in LONG_FORM.items() if key in values), None)
    said = CLOSED.get(str(values.get("answer_type") or "").strip().upper())
    patient = patient_of(_names(values))
    split = entry.split or "train"
    for row in parse_any(entry, _provenance(entry.settings), False if long_form else said):
        kinds = (long_form,) if long_form else row.kinds
        # Files number their rows each from the start, and captions have no id at all.
        pair = replace(row.pair, id=f"{split}-{row.pair.id}", kind=kinds[0])
        yield replace(row, pair=pair, kinds=kinds, patient=patient, cluster=patient or row.cluster)


def _names(values: Any) -> list[str]:
    named = values.get("image_path", values.get("image"))
    names = named if isinstance(named, list) else [named]
    return [str(name) for name in (*names, values.get("id")) if isinstance(name, str)]


def _provenance(settings: ReleaseSettings) -> Provenance:
    return Provenance("study release", licence=settings.licence)


READING = Reading(
    name="files of the study's release",
    licence="not stated",
    parts=parts,
    tasks=("vqa", *TASKS.values()),
    task_of=lambda row: TASKS.get(row.kinds[0], "vqa") if row.kinds else "vqa",
    roots=lambda settings: list(
        dict.fromkeys(
            [settings.images] if settings.images else [part.path.parent for part in parts(settings)]
        )
    ),
    pool=lambda settings: pair_parts(settings, _provenance(settings)),
)
register(
    "release",
    "the study release's own files: questions, reports, captions and pairs",
    ReleaseSettings,
    READING,
)
