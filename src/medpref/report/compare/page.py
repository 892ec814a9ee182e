"""The page of a comparison: one HTML file that needs nothing but itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from medpref import __version__
from medpref.files import write_text
from medpref.report.compare.differences import Difference, find_differences
from medpref.report.compare.studies import Study, differing_settings
from medpref.report.compare.tables import comparison_sheets, finding, study_tables, warnings
from medpref.report.costs import setting
from medpref.report.details import subject, without_places
from medpref.report.page import asset, environment
from medpref.report.provenance import summary
from medpref.report.sheets import write_sheets
from medpref.report.tables import score_tables


def write_comparison(studies: Sequence[Study], page: Path) -> list[Difference]:
    """Write a page on several studies, the first of which the others are compared with.

    The tables stand beside it as CSV and LaTeX, in a folder with the page's name and ``-tables``.

    Returns:
        The differences.

    Raises:
        InputError: a task was asked in two versions.
        RunError: the page cannot be written.
    """
    differences = find_differences(studies)
    tables = study_tables(studies, differences)
    content = {
        "title": "Comparison of studies",
        "studies": [_about(study) for study in studies],
        "labels": [study.label for study in studies],
        "finding": finding(studies, differences),
        "warnings": warnings(studies, differences),
        "tables": tables,
        "settings": [(key, [_setting(v) for v in values]) for key, values in differing_settings(studies)],
        "tests": sum(one.delta.p_study is not None for one in differences),
        "style": Markup(asset("report.css")),
        "version": __version__,
    }
    write_sheets(page.with_name(f"{page.stem}-tables"), comparison_sheets(tables, studies))
    html = environment().get_template("compare.html.j2").render(**content)
    write_text(page, html.encode("utf-8", "replace").decode("utf-8"))
    return differences


def _about(study: Study) -> Mapping[str, Any]:
    run = study.run
    return {
        "label": study.label,
        "title": run.study.get("title") or study.label,
        "subject": subject(run, score_tables(run.results, study.layout), study.layout),
        "summary": summary(run.about, run.data),
    }


def _setting(value: Any) -> str:
    return "–" if value is None else setting(without_places(value))
