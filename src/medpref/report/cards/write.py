"""Write a study's cards."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medpref.evaluation.log import EvaluationLog
from medpref.files import write_text
from medpref.report.cards.citation import citation
from medpref.report.cards.data import data_card
from medpref.report.cards.model import model_card
from medpref.report.sheets.sheet import Sheet

CARDS = "cards"
MODEL, DATA, CITATION = "model-card.md", "data-card.md", "CITATION.cff"


def make_cards(
    content: Mapping[str, Any],
    sheets: Sequence[Sheet],
    logs: Iterable[EvaluationLog],
    authors: Sequence[str] = (),
) -> dict[str, str]:
    """Return the cards' texts by the names of their files."""
    return {
        MODEL: model_card(content, sheets),
        DATA: data_card(content, logs),
        CITATION: citation(content, authors),
    }


def write_cards(folder: Path, cards: Mapping[str, str]) -> None:
    """Write cards into a folder. Raises `RunError` where it cannot be written."""
    for name, text in cards.items():
        write_text(folder / name, text.encode("utf-8", "replace").decode("utf-8"))
