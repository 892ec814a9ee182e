"""PMC-VQA (Zhang et al. 2023, arXiv:2305.10415): 227,000 questions with four choices on figures of articles.

The folder holds ``train.csv`` and ``test_clean.csv`` or ``test.csv`` (their names end in ``_2`` in the second
version) with the columns Figure_path, Question, Answer (also spelt "Anwser"), Choice A to Choice D and
Answer_label, and the figures in ``images/`` or ``figures/``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from medpref.pairs.fields import RowError
from medpref.pairs.pair import Provenance
from medpref.pairs.recipes.base import generator
from medpref.pairs.sources.finding import image_roots, nothing_found, parquet_parts, shard_id, split_files
from medpref.pairs.sources.questions import kinds_of, pair_parts, question_row, text_of
from medpref.pairs.sources.reading import Reading, register
from medpref.pairs.sources.rows import Entry, FolderSettings, Part, Row, require_folder

LICENCE = "CC-BY-SA by its data card; the figures are their articles'"
LETTERS = "ABCD"
FILES: dict[int, dict[str, tuple[str, ...]]] = {
    1: {"train": ("train.csv",), "test": ("test_clean.csv", "test.csv")},
    2: {"train": ("train_2.csv",), "test": ("test_2.csv",)},
}
FOLDERS = {1: ("images", "figures"), 2: ("images_2", "images", "figures")}
_LETTER = re.compile(r"^\s*([A-D])\s*[:.)]\s*")


class PmcVqaSettings(FolderSettings):
    """Where the folder is, and how the choices are used.

    Attributes:
        version: 1 for figures with panels, 2 for the panels cut out.
        show_choices: name the choices in the prompt. Without them many questions have several right answers.
        rejected: ``choice`` makes another of the choices, drawn by seed and id, the rejected response;
            ``none`` leaves that to a recipe.
    """

    version: Literal[1, 2] = 1
    show_choices: bool = True
    rejected: Literal["choice", "none"] = "choice"


def parts(settings: PmcVqaSettings) -> Sequence[Part]:
    """Return the files of the version that is asked for. Raises `InputError` for none."""
    require_folder("PMC-VQA", settings.folder)
    found = split_files(settings.folder, FILES[settings.version], parse) or parquet_parts(
        settings.folder, parse
    )
    if not found:
        raise nothing_found(
            "PMC-VQA", settings.folder, "Looked for train.csv and test_clean.csv or test.csv."
        )
    return found


def parse(entry: Entry) -> Iterator[Row]:
    """Read a question with its choices. Raises as `Parse` says."""
    values = entry.values
    choices = read_choices(values)
    chosen = choices[right_letter(values, choices)]
    question = text_of(values, "Question")
    ident = shard_id(entry)
    rejected, provenance = _rejected(ident, chosen, choices, entry.settings)
    listed = "".join(f"\n{letter}: {choice}" for letter, choice in choices.items())
    if not question:
        raise RowError("the question is empty")
    yield question_row(
        entry,
        provenance,
        ident,
        question + listed if entry.settings.show_choices else question,
        chosen,
        entry.pictures.find(values.get("Figure_path", values.get("image"))),
        kinds=kinds_of(question),
        closed=True,
        choices=tuple(dict.fromkeys(choices.values())),
        rejected=rejected,
    )


def read_choices(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the choices that are not empty by their letter, without the letter that some repeat.

    Raises:
        RowError: there are fewer than two.
    """
    said = {letter: _LETTER.sub("", text_of(values, f"Choice {letter}")).strip() for letter in LETTERS}
    choices = {letter: choice for letter, choice in said.items() if choice}
    if len(set(choices.values())) < 2:
        raise RowError("the question has fewer than two choices")
    return choices


def right_letter(values: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    """Return the letter of the right choice, by its label or else by the answer's text.

    Raises:
        RowError: it is no choice, or label and text name two of them.
    """
    answer = text_of(values, "Answer", "Anwser", "Answer_label")
    label = text_of(values, "Answer_label") if "Answer_label" in values else ""
    named = [letter for letter, choice in choices.items() if _plain(choice) == _plain(answer)]
    letter = label.strip(" .:)").upper() or (answer.upper() if answer.upper() in choices else "")
    if not letter and named:
        return named[0]
    if letter not in choices:
        raise RowError(f"the answer {label or answer!r} is none of the choices")
    if named and letter not in named:
        raise RowError(f"the label says {letter}, the answer's text is choice {named[0]}")
    return letter


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", _LETTER.sub("", text).casefold()))


def _rejected(
    ident: str, chosen: str, choices: Mapping[str, str], settings: PmcVqaSettings
) -> tuple[str | None, Provenance]:
    if settings.rejected == "none":
        return None, Provenance("PMC-VQA", licence=LICENCE)
    wrong = sorted({choice for choice in choices.values() if _plain(choice) != _plain(chosen)})
    if not wrong:
        raise RowError("all choices are the same")
    drawn = generator(settings.seed, "another choice", ident).integers(len(wrong))
    return wrong[int(drawn)], Provenance("PMC-VQA", "another choice", settings.seed, LICENCE)


READING = Reading(
    name="PMC-VQA",
    licence=LICENCE,
    parts=parts,
    tasks=("pmc-vqa",),
    roots=lambda settings: image_roots(settings, *FOLDERS[settings.version]),
    pool=lambda settings: pair_parts(settings, Provenance("PMC-VQA", licence=LICENCE)),
)
register("pmc-vqa", "PMC-VQA: questions with four choices on figures of articles", PmcVqaSettings, READING)
