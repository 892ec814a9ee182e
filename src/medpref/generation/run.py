"""Ask an engine and write each answer as it comes, so that a killed run goes on where it was."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, NamedTuple

from medpref.backbones.sampling import Sampling
from medpref.errors import InputError
from medpref.files import disk_errors
from medpref.generation.engine import Engine
from medpref.generation.question import Answer, Failure, Question

VERSION = 1
Advance = Callable[[int], None]


class Outcome(NamedTuple):
    """What came of a run.

    Attributes:
        answers: by the question's id; those that an earlier run gave among them.
        failures: the questions that have no answer.
    """

    answers: Mapping[str, Answer]
    failures: Sequence[Failure]


def generate_answers(
    engine: Engine,
    questions: Sequence[Question],
    path: Path,
    sampling: Sampling,
    *,
    advance: Advance = lambda _: None,
    replace: bool = False,
) -> Outcome:
    """Answer all questions that `path` does not answer yet.

    The file's first line says who was asked and how, each other one is an answer. Questions that are
    answered together are asked together again where one of them has no answer, so that a run that was
    killed and started again gives the same answers as one that was not. Questions that fail are written to
    a file beside it, with the reason, and asked again by the next run.

    Args:
        engine: who is asked.
        questions: with ids that differ.
        path: where the answers go.
        sampling: how they are drawn.
        advance: called with the number of questions done.
        replace: begin anew where the file holds answers of other settings or other questions.

    Raises:
        InputError: two questions have one id, or the file holds answers of other settings, answers to other
            questions or something else; or the engine cannot be asked.
        RunError: the engine stopped working, or the disk is full.
    """
    _check_ids(questions)
    header = _header(engine, sampling)
    asked = {question.id: question for question in questions}
    done = _resume_or_replace(path, header, questions) if replace else _resume(path, header, questions)
    answers = {ident: answer for ident, answer in done.items() if ident in asked}
    advance(len(answers))
    todo = [
        question
        for group in engine.groups(questions)
        if any(member.id not in answers for member in group)
        for question in group
    ]
    aside = failed_path(path)
    with disk_errors(path):
        aside.unlink(missing_ok=True)
    failures: list[Failure] = []
    with _appending(path, header) as write:
        for made in engine.answer(todo, sampling) if todo else ():
            if made.id in answers:
                # Asked again only for the sake of those that it stands beside.
                continue
            if isinstance(made, Answer):
                write({**asdict(made), "question": asked[made.id].digest()})
                answers[made.id] = made
            else:
                _put_aside(aside, made)
                failures.append(made)
            advance(1)
    return Outcome(answers, failures)


def failed_path(path: Path) -> Path:
    """Return the file that the failures of a run that writes to `path` go to."""
    return path.with_name(f"{path.stem}.failed.jsonl")


def _header(engine: Engine, sampling: Sampling) -> dict[str, Any]:
    said = {
        "medpref": "answers",
        "version": VERSION,
        "engine": dict(engine.identity),
        "sampling": sampling.model_dump(),
    }
    # As it will be read back: lists in place of tuples.
    header: dict[str, Any] = json.loads(_line(said))
    return header


def _check_ids(questions: Iterable[Question]) -> None:
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise InputError("two questions have this id", where=question.id)
        seen.add(question.id)


@contextmanager
def _appending(path: Path, header: Mapping[str, Any]) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Open `path` for answers, the header first where the file is new; yield a function that adds a line."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="utf-8")
    with file:

        def write(line: Mapping[str, Any]) -> None:
            with disk_errors(path):
                _write_line(file, line)

        if file.tell() == 0:
            write(header)
        yield write


def _put_aside(path: Path, failure: Failure) -> None:
    with disk_errors(path), path.open("a", encoding="utf-8") as file:
        _write_line(file, asdict(failure))


def _write_line(file: IO[str], line: Mapping[str, Any]) -> None:
    # One call, so that a process that is killed leaves at most one line cut short.
    file.write(_line(line))
    file.flush()


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _resume(path: Path, header: Mapping[str, Any], questions: Iterable[Question]) -> dict[str, Answer]:
    """Return the answers that `path` holds; a last line that was cut short is taken off the file.

    Raises:
        InputError: the file is no such file, or of other settings, or answers other questions.
    """
    data = path.read_bytes() if path.is_file() else b""
    whole = data.rfind(b"\n") + 1
    if not whole:
        return _begin(path, data, header)
    lines = [_decode(line, path, number) for number, line in enumerate(data[:whole].split(b"\n")[:-1], 1)]
    _check_header(lines[0], header, path)
    if whole < len(data):
        with disk_errors(path):
            os.truncate(path, whole)
    asked = {question.id: question for question in questions}
    answers: dict[str, Answer] = {}
    for number, line in enumerate(lines[1:], start=2):
        answer, digest = _read_answer(line, path, number)
        if answer.id in asked and asked[answer.id].digest() != digest:
            raise InputError(
                f"the question {answer.id} is not the one that was answered there",
                where=f"{path}, line {number}",
                remedy="Its text or image has changed: write to another file.",
            )
        answers[answer.id] = answer
    return answers


def _resume_or_replace(
    path: Path, header: Mapping[str, Any], questions: Iterable[Question]
) -> dict[str, Answer]:
    """Return what `_resume` does; a file that it refuses is removed."""
    try:
        return _resume(path, header, questions)
    except InputError:
        path.unlink()
        return {}


def _begin(path: Path, data: bytes, header: Mapping[str, Any]) -> dict[str, Answer]:
    """Empty a file that holds no more than the beginning of the header. Raises `InputError` for others."""
    if not _line(header).encode().startswith(data):
        raise _foreign(path)
    if data:
        with disk_errors(path):
            os.truncate(path, 0)
    return {}


def _foreign(path: Path) -> InputError:
    what = "this file holds something other than answers"
    return InputError(what, where=str(path), remedy="Write to another file.")


def _decode(line: bytes, path: Path, number: int) -> Any:
    try:
        return json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise InputError(
            "the line is no JSON",
            where=f"{path}, line {number}",
            remedy="Take the line out, or write to another file.",
        ) from None


def _read_answer(line: Any, path: Path, number: int) -> tuple[Answer, str]:
    try:
        fields = dict(line)
        digest = fields.pop("question")
        return Answer(**fields), digest
    except (TypeError, ValueError, KeyError):
        raise InputError("the line is no answer", where=f"{path}, line {number}") from None


def _check_header(found: Any, wanted: Mapping[str, Any], path: Path) -> None:
    if not isinstance(found, dict) or found.get("medpref") != "answers":
        raise _foreign(path)
    differences = [
        f"{key} is {_show(there.get(key))} there and {_show(here.get(key))} here"
        for there, here in (
            ({"version": found.get("version")}, {"version": VERSION}),
            (_section(found, "engine"), wanted["engine"]),
            (_section(found, "sampling"), wanted["sampling"]),
        )
        for key in dict.fromkeys((*there, *here))
        if there.get(key) != here.get(key)
    ]
    if differences:
        raise InputError(
            f"this file holds answers of other settings: {'; '.join(differences)}",
            where=str(path),
            remedy="Ask with the same settings, or write to another file.",
        )


def _section(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = found.get(name)
    return section if isinstance(section, dict) else {}


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
