"""Rows of radiology reports: sections of a text, and studies as JSON."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from medpref.pairs.formats import REPORT_PROMPT
from medpref.pairs.pair import Provenance
from medpref.pairs.sources.questions import question_row, text_of
from medpref.pairs.sources.rows import Entry, LeftOutError, Parse, Part, Row
from medpref.pairs.sources.splits import split_name

SECTIONS = {
    "findings": ("FINDINGS", "FINDING", "FINDINGS AND IMPRESSION", "FINDINGS/IMPRESSION"),
    "impression": ("IMPRESSION", "IMPRESSIONS", "CONCLUSION", "CONCLUSIONS"),
}
"""A section's headings."""
KEYS = {"train": "train", "val": "validation", "test": "test"}
"""The arrays of an ``annotation.json``, and the splits that they are."""
_HEADING = re.compile(r"^[ \t]*([A-Z][A-Z0-9 ,()/&-]+?)[ \t]*:", re.MULTILINE)
_SEVERAL_LISTS = re.compile(r'\s*\{\s*"(?!image_path")[^"]*"\s*:\s*\[')
_PATIENT = re.compile(r"(?:^|[/\\])p(\d{8})(?:[/\\]|$)|^CXR(\d+)")


def read_sections(report: str) -> dict[str, str]:
    """Return a report's sections by heading in capitals, blanks and line ends as single blanks.

    Of a heading that comes twice the texts are joined. What stands before the first heading is left out.
    """
    found: dict[str, str] = {}
    headings = list(_HEADING.finditer(report))
    for number, heading in enumerate(headings):
        end = headings[number + 1].start() if number + 1 < len(headings) else len(report)
        text = " ".join(report[heading.end() : end].split())
        name = " ".join(heading[1].split())
        found[name] = f"{found[name]} {text}".strip() if name in found else text
    return found


def section_of(report: str, wanted: Sequence[str]) -> str:
    """Return the sections `wanted`, keys of `SECTIONS`, one behind the other; empty where there is none."""
    sections = read_sections(report)
    texts = [next((sections[h] for h in SECTIONS[name] if sections.get(h)), "") for name in wanted]
    return " ".join(filter(None, texts))


def report_row(
    entry: Entry,
    provenance: Provenance,
    ident: str,
    report: str,
    images: Sequence[Path],
    *,
    split: str | None = None,
    patient: str | None = None,
) -> Row:
    """Return a study with its report as a row, under the prompt that the study gives for reports."""
    return question_row(
        entry,
        provenance,
        ident,
        REPORT_PROMPT,
        report,
        images,
        split=split,
        kinds=("report",),
        closed=False,
        patient=patient,
    )


def annotated(entry: Entry, provenance: Provenance) -> Iterator[Row]:
    """Read a study as ``{id, report, image_path: […]}``, with a ``split`` where its file holds all of them.

    Raises as `Parse` says.
    """
    values = entry.values
    named = values["image_path"]
    names = [named] if isinstance(named, str) else list(named)
    most = getattr(entry.settings, "images_per_study", None)
    split = entry.split or split_name(text_of(values, "split"))
    ident = f"{split}-{entry.record.line}" if values.get("id") is None else str(values["id"])
    patient = str(values["subject_id"]) if "subject_id" in values else patient_of([ident, *names])
    images = entry.pictures.find(names[:most])
    yield report_row(
        entry, provenance, ident, text_of(values, "report"), images, split=split, patient=patient
    )


def patient_of(names: Sequence[str]) -> str | None:
    """Return the patient that an id or a path of MIMIC-CXR or IU X-ray names, or None."""
    found = next(filter(None, map(_PATIENT.search, names)), None)
    return next(filter(None, found.groups())) if found else None


def annotation_parts(path: Path, provenance: Provenance) -> list[Part]:
    """Return the three splits of an ``annotation.json``, or the one list whose rows tell their splits."""

    def parse(entry: Entry) -> Iterator[Row]:
        return annotated(entry, provenance)

    if _is_one_list(path):
        return [Part(path, None, parse)]
    return [Part(path, split, parse, key) for key, split in KEYS.items()]


def _is_one_list(path: Path) -> bool:
    """Tell whether a file is an array or has one study a line, by how it begins: it may be large."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return _SEVERAL_LISTS.match(file.read(4096)) is None


def with_test(parts: Sequence[Part], test: Path | None, provenance: Provenance) -> list[Part]:
    """Return `parts` with the file `test` in place of the test split, where there is one."""
    if test is None:
        return list(parts)
    kept = [part._replace(parse=_without_test(part.parse)) for part in parts if part.split != "test"]
    return [*kept, Part(test, "test", lambda entry: annotated(entry, provenance))]


def _without_test(parse: Parse) -> Parse:
    def parse_others(entry: Entry) -> Iterator[Row]:
        for row in parse(entry):
            if row.split == "test":
                raise LeftOutError("another file takes the place of the test split")
            yield row

    return parse_others
