"""The page: one HTML file that needs nothing but itself."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from medpref.evaluation.alignment import NORMAL
from medpref.evaluation.comparison import ALL_SEEDS
from medpref.evaluation.conditions import conditions
from medpref.evaluation.metrics import LOWER_IS_BETTER
from medpref.files import write_text
from medpref.report import costs, details, provenance, wording
from medpref.report.cards import CARDS, make_cards, write_cards
from medpref.report.curves import curve_figures
from medpref.report.figures import dumbbells, kind_figures, whiskers
from medpref.report.findings import cautions, find
from medpref.report.gallery import make_gallery
from medpref.report.images import Images
from medpref.report.inference import (
    detectable_sentence,
    family_sentence,
    full_tests,
    pair_matrix,
    ranking_sentence,
)
from medpref.report.layout import Layout, make_layout
from medpref.report.likelihood import METRICS, likelihood_tables
from medpref.report.load import RunFolder, read_run
from medpref.report.looking import errors
from medpref.report.looking.answers import consistency_tables, flip_tables, noise_sentences
from medpref.report.looking.calibration import calibration_tables, plot_figures
from medpref.report.looking.errors import error_tables
from medpref.report.others import count_outputs, legacy_tables, other_tables, unscored_lines
from medpref.report.overview import overviews
from medpref.report.review import HARMS, VERDICTS, review_section
from medpref.report.seeds import seed_figures
from medpref.report.sheets import TABLES, make_sheets, write_sheets
from medpref.report.tables import ScoreTable, score_tables
from medpref.report.templating import make_environment
from medpref.report.why import why_figures

PAGE = "report.html"

_FILTERS = (
    "metric_name",
    "metric_title",
    "slice_name",
    "percent",
    "figure",
    "figure_interval",
    "decimals",
    "decimals_interval",
    "points",
    "interval",
    "points_interval",
    "p_equals",
    "p_value",
    "number",
    "duration",
)


def write_report(run: Path, images: Images = Images.EMBED, authors: Sequence[str] = ()) -> Path:
    """Write ``report.html`` into a run folder, and its tables and cards into folders beside it.

    Args:
        run: the folder of a study that has run to its end.
        images: whether the gallery's images are in the page, in `FOLDER` beside it, or left out.
        authors: of the study, for its citation file.

    Returns:
        The page's path.

    Raises:
        InputError: the folder holds no results, or a log is broken; the message names the file.
        RunError: the page cannot be written.
    """
    page = run / PAGE
    found = read_run(run)
    content = make_content(found, images)
    sheets = make_sheets(content)
    write_sheets(run / TABLES, sheets)
    write_cards(run / CARDS, make_cards(content, sheets, found.logs, authors))
    write_text(page, render(content))
    return page


def render(content: Mapping[str, Any]) -> str:
    """Return the page of what `make_content` found."""
    html = environment().get_template("report.html.j2").render(**content)
    # A log may hold half of a surrogate pair, which UTF-8 cannot.
    return html.encode("utf-8", "replace").decode("utf-8")


def make_content(run: RunFolder, images: Images = Images.EMBED) -> dict[str, Any]:
    """Return everything that a run's page shows, by the names that its template knows."""
    layout = make_layout(run.results, run.about)
    tables = score_tables(run.results, layout)
    cards = make_gallery(run, layout, images)
    script = asset("report.js")
    return {
        "title": run.study.get("title") or run.results.get("study") or "Study",
        "study": run.results.get("study") or "",
        "finding": find(tables, layout),
        "subject": details.subject(run, tables, layout),
        "cautions": cautions(run, tables, layout),
        "layout": layout,
        "overviews": overviews(tables, layout),
        "tables": [(table, whiskers(table, layout.main_control), _beside(table, layout)) for table in tables],
        "family": family_sentence(run.results, layout),
        "reliance": [(table, dumbbells(table)) for table in tables if any(row.gaps for row in table.rows)],
        "conditions": _conditions(tables),
        **_looking(run.results, tables, layout),
        "seed_figures": seed_figures(run.results, layout),
        "kind_figures": kind_figures(run.results, layout),
        "why": why_figures(run, layout),
        "review": review_section(run, layout),
        "review_verdicts": VERDICTS,
        "review_harms": HARMS,
        "curves": curve_figures(run.curves, layout),
        "searches": costs.search_lines(run.searches, layout),
        "budget": costs.budget(run.searches),
        "likelihood": likelihood_tables(run.results, layout),
        "likelihood_metrics": METRICS,
        "lower_is_better": LOWER_IS_BETTER,
        "unscored": unscored_lines(run.results, layout),
        "others": other_tables(run.results, layout),
        "legacy": legacy_tables(run.results, layout),
        "outputs": count_outputs(run.logs),
        "cards": cards,
        "images": images.value,
        "error_kinds": sorted({kind for c in cards for a in c.question.answers for kind in a.errors}),
        "kinds": sorted({card.question.kind for card in cards}),
        "methods": details.method_lines(run.study),
        "stages": details.stage_lines(run.about.get("stages") or {}),
        "settings": details.study_text(run.study),
        "about": run.about,
        "summary": provenance.summary(run.about, run.data),
        "run_facts": provenance.run_facts(run.about),
        "hashes": provenance.hash_lines(run.manifest),
        "leakage": provenance.leakage_facts(run.data),
        "data": run.data,
        "style": Markup(asset("report.css")),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def _looking(results: Mapping[str, Any], tables: Sequence[ScoreTable], layout: Layout) -> dict[str, Any]:
    """Return how far the answers come from the image, how sure they are, and in what they err."""
    shares = error_tables(results, layout)
    return {
        "noise": noise_sentences(tables),
        "flips": flip_tables(results, layout),
        "consistency": consistency_tables(results, layout),
        "calibration": calibration_tables(results, layout),
        "plots": plot_figures(results, layout),
        "errors": shares,
        "error_plots": errors.error_figures(shares),
        "error_columns": (errors.VISUAL_COLUMNS, errors.OTHER_COLUMNS),
        "error_names": errors.NAMES,
        "agreement": errors.agreement_sentence(results),
        "seeds": len({row["seed"] for row in results["rows"]} - {ALL_SEEDS}),
    }


def _beside(table: ScoreTable, layout: Layout) -> dict[str, Any]:
    """Return what stands below a table of scores."""
    return {
        "detectable": detectable_sentence(table, layout.main_control),
        "ranking": ranking_sentence(table),
        "tests": full_tests(table),
        "matrix": pair_matrix(table),
    }


def _conditions(tables: Sequence[ScoreTable]) -> list[tuple[str, str]]:
    """Return the conditions beside the blank image, and what each of them is and is compared with."""
    names = sorted({name for table in tables for name in table.conditions})
    return [(name, _condition(name)) for name in names]


def _condition(name: str) -> str:
    if name not in conditions:
        return ""
    found = conditions[name]
    return found.summary + ("" if found.control == NORMAL else f"; compared with {found.control}")


@cache
def environment() -> Environment:
    """Return the report's templates."""
    return make_environment("medpref.report", {name: getattr(wording, name) for name in _FILTERS})


def asset(name: str) -> str:
    """Return a file of the report's templates as it is."""
    return files("medpref.report").joinpath("templates", name).read_text(encoding="utf-8")
