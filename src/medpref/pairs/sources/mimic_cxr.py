"""MIMIC-CXR (Johnson et al. 2019, doi 10.1038/s41597-019-0322-0): radiographs with reports, of PhysioNet.

The folder holds ``mimic-cxr-2.0.0-split.csv`` and ``mimic-cxr-2.0.0-metadata.csv`` (both may be packed as
``.gz``), images as ``files/p10/p10000032/s50414267/DICOM_ID.jpg`` (or ``.dcm``) and reports as
``files/p10/p10000032/s50414267.txt``; or an ``annotation.json`` with the arrays train, val and test of
``{id, subject_id, report, image_path}``, or one list of them with ``split``. The data is read where it lies.
Nothing here opens a connection.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from medpref.errors import InputError
from medpref.files import UserPath
from medpref.pairs.fields import RowError
from medpref.pairs.pair import Provenance
from medpref.pairs.sources.finding import first_there, image_roots, nothing_found
from medpref.pairs.sources.questions import pair_parts
from medpref.pairs.sources.reading import Reading, register
from medpref.pairs.sources.records import Record, read_records
from medpref.pairs.sources.reports import annotation_parts, report_row, section_of, with_test
from medpref.pairs.sources.rows import Entry, FolderSettings, LeftOutError, Part, Row, require_folder
from medpref.pairs.sources.splits import split_name

LICENCE = "PhysioNet Credentialed Health Data License 1.5.0: not to be passed on"
PROVENANCE = Provenance("MIMIC-CXR", licence=LICENCE)
SPLIT = "mimic-cxr-2.0.0-split.csv"
METADATA = "mimic-cxr-2.0.0-metadata.csv"
FRONTAL = ("PA", "AP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".dcm")
WANTED = {"findings": ("findings",), "impression": ("impression",), "both": ("findings", "impression")}


class MimicCxrSettings(FolderSettings):
    """Where the folder is, and what is taken of a study.

    Attributes:
        reports: the folder of the reports, where they lie apart from the images.
        section: of the report, the right answer. Studies without it are left out and counted.
        views: ``frontal`` takes PA and AP images, ``all`` any.
        images_per_study: the most images of a study, in the order of the split file.
        test: a file of ``{id, report, image_path}`` rows, an array or one a line, in place of the test split.
    """

    reports: UserPath | None = None
    section: Literal["findings", "impression", "both"] = "findings"
    views: Literal["frontal", "all"] = "frontal"
    images_per_study: int = Field(1, ge=1)
    test: UserPath | None = None


def parts(settings: MimicCxrSettings) -> Sequence[Part]:
    """Return the files of the layout that the folder has. Raises `InputError` for none."""
    require_folder("MIMIC-CXR", settings.folder)
    split = first_there(settings.folder, (SPLIT, f"{SPLIT}.gz"))
    annotation = settings.folder / "annotation.json"
    if split is not None:
        found = [Part(split, None, parse, records=partial(studies, settings=settings))]
    elif annotation.is_file():
        found = annotation_parts(annotation, PROVENANCE)
    else:
        raise nothing_found("MIMIC-CXR", settings.folder, f"Looked for {SPLIT}, and for annotation.json.")
    return with_test(found, settings.test, PROVENANCE)


def studies(path: Path, settings: MimicCxrSettings) -> Iterator[Record]:
    """Yield one record for each study of the split file, at the line where it is first named.

    Raises:
        InputError: the views are asked for and the metadata is not there.
    """
    views = _views(settings)
    found: dict[str, dict[str, Any]] = {}
    lines: dict[str, int] = {}
    images: dict[str, list[str]] = defaultdict(list)
    for record in read_records(path):
        missing = [key for key in ("dicom_id", "study_id", "subject_id", "split") if key not in record.values]
        if record.fault or missing:
            yield Record(path, record.line, record.values, record.fault or f"there is no {missing[0]}")
            continue
        study = record.values["study_id"]
        found.setdefault(study, record.values)
        lines.setdefault(study, record.line)
        if views is None or views.get(record.values["dicom_id"]) in FRONTAL:
            images[study].append(record.values["dicom_id"])
    for study, values in found.items():
        yield Record(path, lines[study], {**values, "dicom_ids": images[study]})


def _views(settings: MimicCxrSettings) -> dict[str, str] | None:
    """Return the view of each image, or None where all are wanted."""
    if settings.views == "all":
        return None
    path = first_there(settings.folder, (METADATA, f"{METADATA}.gz"))
    if path is None:
        raise InputError(
            "the file that tells the views of the images is not there",
            where=str(settings.folder / METADATA),
            remedy="Put it there, or set views: all.",
        )
    rows = (record.values for record in read_records(path) if not record.fault)
    return {str(row.get("dicom_id")): str(row.get("ViewPosition")).strip() for row in rows}


def parse(entry: Entry) -> Iterator[Row]:
    """Read a study. Raises as `Parse` says."""
    values, settings = entry.values, entry.settings
    split = split_name(values["split"])
    if split == "test" and settings.test is not None:
        raise LeftOutError("another file takes the place of the test split")
    if not values["dicom_ids"]:
        raise LeftOutError("the study has no image of the views asked for")
    place = _place(values)
    text = section_of(_report(settings.reports or settings.folder, place), WANTED[settings.section])
    if not text:
        raise LeftOutError(f"the report has no {settings.section} section")
    names = values["dicom_ids"][: settings.images_per_study]
    images = [image for name in names for image in entry.pictures.find(_image(entry, place, name))]
    ident, patient = f"s{values['study_id']}", str(values["subject_id"])
    yield report_row(entry, PROVENANCE, ident, text, images, split=split, patient=patient)


def _place(values: Mapping[str, Any]) -> str:
    patient = values["subject_id"]
    return f"p{patient[:2]}/p{patient}/s{values['study_id']}"


def _report(folder: Path, place: str) -> str:
    path = first_there(folder, (f"files/{place}.txt", f"{place}.txt"))
    if path is None:
        raise RowError(f"the report is missing: files/{place}.txt")
    return path.read_text(encoding="utf-8", errors="replace")


def _image(entry: Entry, place: str, name: str) -> str:
    names = [f"{folder}{place}/{name}{suffix}" for folder in ("files/", "") for suffix in SUFFIXES]
    there = (n for n in names if any((root / n).is_file() for root in entry.pictures.roots))
    return next(there, names[0])


READING = Reading(
    name="MIMIC-CXR",
    licence=LICENCE,
    parts=parts,
    tasks=("mimic-cxr",),
    roots=lambda settings: image_roots(settings, "images"),
    pool=lambda settings: pair_parts(settings, PROVENANCE),
    notes=lambda _: [
        "MIMIC-CXR is lent under a data use agreement: neither images nor texts may be passed on."
    ],
    # Patients tell a change; listing every study would take minutes on a network drive.
    listed=lambda settings: [(settings.images or settings.folder) / "files"],
    depth=2,
)
register(
    "mimic-cxr", "MIMIC-CXR: chest radiographs with reports, as PhysioNet has them", MimicCxrSettings, READING
)
