"""Comparisons as tables: a row for each method, a score and a difference for each study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medpref.report.compare.differences import Difference, Side, matching, score
from medpref.report.compare.studies import Study
from medpref.report.layout import Headline, Role
from medpref.report.sheets.sheet import Line, Sheet, delta_cell, file_name, score_cell
from medpref.report.tables import Score
from medpref.report.wording import counted, joined, metric_name, slice_name


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One method: its scores and its differences to the first study, by the study's label."""

    backbone: str
    method: str
    role: Role
    scores: Mapping[str, Score | None]
    differences: Mapping[str, Difference]


@dataclass(frozen=True, slots=True)
class StudyTable:
    """All methods that the first study shares with another, by one figure."""

    headline: Headline
    rows: tuple[StudyRow, ...]


def study_tables(studies: Sequence[Study], differences: Sequence[Difference]) -> list[StudyTable]:
    """Return a table for each figure that some study shares with the first."""
    first = studies[0]
    found = []
    for figure in first.layout.headline:
        rows: dict[tuple[str, str], dict[str, Difference]] = {}
        for one in differences:
            if one.figure == figure:
                place = one.first.backbone, one.first.method
                rows.setdefault(place, {})[one.second.study.label] = one
        if rows:
            order = [(b, m) for b in first.layout.backbones for m in first.layout.methods if (b, m) in rows]
            lines = tuple(_row(studies, figure, place, rows[place]) for place in order)
            found.append(StudyTable(figure, lines))
    return found


def _row(
    studies: Sequence[Study], figure: Headline, place: tuple[str, str], own: Mapping[str, Difference]
) -> StudyRow:
    backbone, method = place
    first = studies[0]
    scores = {first.label: score(Side(first, backbone, method), figure)}
    scores |= {label: score(one.second, figure) for label, one in own.items()}
    return StudyRow(backbone, method, first.layout.role(method), scores, own)


def comparison_sheets(tables: Sequence[StudyTable], studies: Sequence[Study]) -> list[Sheet]:
    """Return the tables as sheets."""
    first, *others = (study.label for study in studies)
    columns = ["Method", "Backbone", first]
    columns += [title for name in others for title in (name, f"{name} less {first}", f"{name}, paired")]
    return [
        Sheet(
            file_name("compare", *table.headline),
            f"{_place(table.headline)}, in %, differences in points, with 95 % intervals; "
            "p after Holm over all studies",
            tuple(columns),
            tuple(_line(table, row, first, others) for row in table.rows),
        )
        for table in tables
    ]


def _place(figure: Headline) -> str:
    return f"{figure.task}: {metric_name(figure.metric)}, {slice_name(figure.slice)}"


def _line(table: StudyTable, row: StudyRow, first: str, others: Sequence[str]) -> Line:
    metric = table.headline.metric
    cells = [row.method, row.backbone, score_cell(row.scores.get(first), metric)]
    for name in others:
        one = row.differences.get(name)
        cells += [
            score_cell(row.scores.get(name), metric),
            delta_cell(one.delta if one else None),
            ("yes" if one.paired else "no") if one else None,
        ]
    return Line(tuple(cells), row.role)


def warnings(studies: Sequence[Study], differences: Sequence[Difference]) -> list[str]:
    """Return what a reader has to know before the differences."""
    first = studies[0]
    found = []
    for other in studies[1:]:
        own = [one for one in differences if one.second.study is other]
        if not own:
            found.append(
                f"{other.label} shares no method and figure with {first.label}: nothing is compared."
            )
        for task in dict.fromkeys(one.figure.task for one in own):
            notes = {(one.paired, one.note) for one in own if one.figure.task == task and one.note}
            for paired, note in sorted(notes):
                so = "paired all the same" if paired else "unpaired, which tells less"
                found.append(f"{other.label}, {task}: {note}; the differences are {so}.")
        renamed = {(a.backbone, b.backbone) for a, b in matching(first, other) if a.backbone != b.backbone}
        found += [
            f"The backbone {a} of {first.label} is compared with {b} of {other.label}." for a, b in renamed
        ]
    single = [study.label for study in studies if len(_seeds(study)) == 1]
    if single:
        text = f"{joined(single)} {'has' if len(single) == 1 else 'have'} one seed: two trainings with other "
        found.append(text + "seeds differ as well, and these differences do not tell that apart.")
    return found


def _seeds(study: Study) -> set[int]:
    return {log.header.seed for log in study.run.logs if log.header.model is not None}


def finding(studies: Sequence[Study], differences: Sequence[Difference]) -> str:
    """Say how many differences are distinct, and of which studies."""
    tested = [one for one in differences if one.delta.p_study is not None]
    if not tested:
        return "Nothing could be tested between these studies."
    told = []
    for other in studies[1:]:
        own = [one for one in tested if one.second.study is other]
        up, down = sum(one.delta.better for one in own), sum(one.delta.worse for one in own)
        told.append(f"{other.label}: {up} better and {down} worse of {counted(len(own), 'difference')}")
    return f"Compared with {studies[0].label}, after correction over all: {'; '.join(told)}."
