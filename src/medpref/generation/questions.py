"""Read questions from files: pairs of any shape, a task's samples, or plain rows without an answer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from medpref.errors import InputError
from medpref.generation.question import Question
from medpref.pairs.formats import with_placeholders
from medpref.pairs.pair import ImageRole, Pair, Turn
from medpref.pairs.store import Quarantined, decode_lines, read_pairs

ANSWERED = frozenset({"responses", "chosen", "conversations", "answer", "gpt4_answer", "report", "caption"})
"""The keys that only rows with an answer have: those are read as pairs."""


class QuestionFile(NamedTuple):
    """The sound questions of a file in order, and the rows that cannot be asked."""

    questions: tuple[Question, ...]
    quarantined: tuple[Quarantined, ...]


def read_questions(path: Path, *, images: Path | None = None) -> QuestionFile:
    """Read the questions of a pair file, of a task's samples, or of rows without an answer.

    The last have the keys ``prompt`` or ``question``, ``image`` or ``images``, and where wanted ``id`` and
    ``history`` (a list of [user, assistant]). Of a pair the prompt is asked on the clean images.

    Args:
        path: JSONL; pairs may be a JSON array or Parquet too.
        images: the folder that relative image paths start from; the file's own folder where not given.

    Raises:
        InputError: the file is missing, cannot be read at all or holds no question.
    """
    root = images or path.parent
    rows = _unanswered_rows(path)
    if rows is None:
        file = read_pairs(path, images=images, verify_images=False)
        found = QuestionFile(tuple(map(from_pair, file.pairs)), file.quarantined)
    else:
        found = _from_rows(rows, root)
    if not found.questions:
        reason = f": line {found.quarantined[0].line}: {found.quarantined[0].reason}" if found[1] else ""
        raise InputError(f"no question in this file can be asked{reason}", where=str(path))
    return found


def from_pair(pair: Pair) -> Question:
    """Return a pair's prompt on its clean images."""
    return Question(pair.id, pair.prompt, pair.images.get(ImageRole.CLEAN, ()), pair.history)


def _unanswered_rows(path: Path) -> list[tuple[int, Any, str | None]] | None:
    """Return the rows of a JSONL file whose first row holds no answer, as `decode_lines` does; else None."""
    if not path.is_file():
        raise InputError("there is no such file", where=str(path))
    if path.suffix == ".parquet":
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"the file is no UTF-8 text ({error.reason})", where=str(path)) from None
    if text.lstrip().startswith("["):
        return None
    rows = list(decode_lines(text.split("\n")))
    first = next((row for _, row, fault in rows if not fault), None)
    return rows if isinstance(first, Mapping) and not ANSWERED & first.keys() else None


def _from_rows(rows: list[tuple[int, Any, str | None]], root: Path) -> QuestionFile:
    questions: dict[str, Question] = {}
    quarantined = []
    for line, row, fault in rows:
        try:
            if fault:
                raise ValueError(fault)
            question = _question(row, root, f"line-{line}")
            if question.id in questions:
                raise ValueError("the id is that of an earlier line")
            questions[question.id] = question
        except (ValueError, TypeError, AttributeError) as error:
            ident = str(row["id"]) if isinstance(row, Mapping) and "id" in row else None
            quarantined.append(Quarantined(line, ident, str(error), str(row)[:2000]))
    return QuestionFile(tuple(questions.values()), tuple(quarantined))


def _question(row: Mapping[str, Any], root: Path, fallback: str) -> Question:
    """Return one row's question. Raises `ValueError` or `TypeError` where it has another shape."""
    prompt = row.get("prompt", row.get("question"))
    if not isinstance(prompt, str):
        raise ValueError("the row needs a prompt or a question")
    given = row.get("images", row.get("image")) or ()
    names = (given,) if isinstance(given, str) else tuple(given)
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError("images must be given by path")
    history = tuple(Turn(str(user), str(assistant)) for user, assistant in row.get("history") or ())
    if not any("<image>" in turn.user for turn in history):
        prompt = with_placeholders(prompt, len(names))
    ident = row.get("id")
    question = Question(
        fallback if ident is None else str(ident), prompt, tuple(root / name for name in names), history
    )
    if question.fault:
        raise ValueError(question.fault)
    return question
