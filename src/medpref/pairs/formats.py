"""The row shapes that people have on disk, each turned into a `Pair`.

A shape is recognised by its keys, once for each row, so that a file may mix them:

- medpref's own: ``{id, prompt, images: {clean, rejected}, responses: {chosen, rejected}, …}``, with
  ``history: [[question, answer], …]`` where the conversation began earlier
- LLaVA-style pairs: ``{id, image, [rejected_image], [weighted_score], conversations,
  rejected_conversations}``
- flat question rows: ``{question, image, chosen, rejected, …}`` or ``{question, answer, image, …}``
- the study release's own test files: VQA, MIMIC-CXR reports, AMBOSS captions
- TRL's preference format: ``{images, prompt, chosen, rejected}`` with texts or message lists, or without a
  prompt, which both message lists then begin with

In a conversation of several turns the last answer is the response; what stands before it is the prompt and
its history, the same for the chosen and the rejected side.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medpref.pairs.conversations import (
    Message,
    read_answer,
    read_chat,
    read_history,
    read_llava,
    split_answer,
    split_question,
)
from medpref.pairs.fields import (
    RowError,
    read_id,
    read_mapping,
    read_optional_text,
    read_paths,
    read_text,
    read_weight,
)
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Change, ImageRole, Pair, Provenance, ResponseRole

Row = Mapping[str, Any]


def parse_row(row: Row, root: Path, fallback_id: str) -> Pair:
    """Turn one row of any known shape into a pair.

    Args:
        row: the decoded JSON object.
        root: the folder that relative image paths start from.
        fallback_id: the id of a row that has none.

    Raises:
        RowError: the row has no known shape, or a field of the wrong type.
    """
    if not isinstance(row, Mapping):
        raise RowError(f"a row must be a JSON object, this is {type(row).__name__}")
    for keys, parse in SHAPES:
        if keys <= row.keys():
            return parse(row, root, fallback_id)
    raise RowError(
        "no known shape: expected the keys prompt + responses, prompt + chosen, chosen + rejected, "
        "conversations, or question"
    )


def _own(row: Row, root: Path, fallback_id: str) -> Pair:
    images = read_mapping(row.get("images") or {}, "images")
    responses = read_mapping(row["responses"], "responses")
    return Pair(
        id=read_id(row.get("id"), fallback_id),
        prompt=read_text(row["prompt"], "prompt"),
        images={ImageRole(role): read_paths(value, root) for role, value in images.items() if value},
        responses={
            ResponseRole(role): read_text(value, role)
            for role, value in responses.items()
            if value is not None
        },
        weight=read_weight(row.get("weight")),
        kind=read_optional_text(row.get("kind"), "kind"),
        region=read_paths(row["region"], root)[0] if row.get("region") else None,
        provenance=_provenance(row.get("provenance")),
        history=read_history(row.get("history")),
        changes=tuple(map(_change, row.get("changes") or ())),
    )


def _change(value: Any) -> Change:
    said = read_mapping(value, "changes")
    try:
        return Change(**said)
    except TypeError:
        raise RowError(
            f"a change has the keys {', '.join(Change._fields)}, this has {', '.join(said)}"
        ) from None


def _trl(row: Row, root: Path, fallback_id: str) -> Pair:
    """TRL's preference format: the images of a row belong to the conversation, in order."""
    asked = read_chat(row["prompt"], "prompt")
    return _chat_pair(row, root, fallback_id, asked, row["chosen"])


def _trl_without_prompt(row: Row, root: Path, fallback_id: str) -> Pair:
    """TRL's preference format with the prompt inside: what stands before both answers."""
    asked, chosen = split_answer(read_chat(row["chosen"], "chosen"), "chosen")
    return _chat_pair(row, root, fallback_id, asked, chosen)


def _chat_pair(row: Row, root: Path, fallback_id: str, asked: list[Message], chosen: Any) -> Pair:
    history, prompt = split_question(asked, "prompt" if "prompt" in row else "chosen")
    return Pair(
        id=read_id(row.get("id"), fallback_id),
        prompt=prompt,
        images=_by_role(
            read_paths(row.get("images") or row.get("image") or (), root),
            read_paths(row.get("rejected_images") or row.get("rejected_image") or (), root),
        ),
        responses=_responses(chosen, row.get("rejected"), asked),
        weight=read_weight(row.get("weight")),
        kind=read_optional_text(row.get("kind"), "kind"),
        provenance=Provenance(source="trl"),
        history=history,
    )


def _llava(row: Row, root: Path, fallback_id: str) -> Pair:
    """LLaVA-style: alternating turns, the response is the last one; the rejected turns repeat the others."""
    asked, chosen = split_answer(read_llava(row["conversations"], "conversations"), "conversations")
    history, prompt = split_question(asked, "conversations")
    key = "rejected_conversations"
    rejected = read_answer(read_llava(row[key], key), asked, key) if row.get(key) else None
    return Pair(
        id=read_id(row.get("id"), fallback_id),
        prompt=prompt,
        images=_by_role(
            read_paths(row.get("image") or (), root), read_paths(row.get("rejected_image") or (), root)
        ),
        responses=_responses(chosen, rejected, asked),
        weight=read_weight(row.get("weighted_score", row.get("weight"))),
        kind=read_optional_text(row.get("kind"), "kind"),
        provenance=Provenance(source="llava"),
        history=history,
    )


def _question(row: Row, root: Path, fallback_id: str) -> Pair:
    """A flat row; a question without ``<image>`` gets one placeholder for each image, in front."""
    images = read_paths(row.get("image") or (), root)
    question = read_text(row["question"], "question")
    chosen = row["chosen"] if "chosen" in row else row.get("answer")
    if chosen is None:
        raise RowError("neither chosen nor answer is given")
    return Pair(
        id=read_id(row.get("id", row.get("qid")), fallback_id),
        prompt=with_placeholders(question, len(images)),
        images=_by_role(images, read_paths(row.get("rejected_image") or (), root)),
        responses=_responses(chosen, row.get("rejected"), [Message("user", question)]),
        weight=read_weight(row.get("weight", row.get("weighted_score"))),
        kind=read_optional_text(row.get("kind"), "kind"),
        provenance=Provenance(source="questions"),
    )


def _release_question(row: Row, root: Path, fallback_id: str) -> Pair:
    """The study release's VQA rows: ``{question_id, image, text, gpt4_answer, answer_type}``."""
    answer = row.get("gpt4_answer", row.get("answer"))
    if answer is None:
        raise RowError("no gpt4_answer is given")
    return _described(
        row, root, read_id(row["question_id"], fallback_id), read_text(row["text"], "text"), answer, "image"
    )


def _release_report(row: Row, root: Path, fallback_id: str) -> Pair:
    """The study release's MIMIC-CXR rows, ``{id, report, image_path: […]}``, with the study's prompt."""
    return _described(
        row, root, read_id(row.get("id"), fallback_id), REPORT_PROMPT, row["report"], "image_path"
    )


def _release_caption(row: Row, root: Path, fallback_id: str) -> Pair:
    """The study release's AMBOSS rows, ``{image_path, caption}``, with the study's prompt."""
    return _described(
        row, root, read_id(row.get("id"), fallback_id), CAPTION_PROMPT, row["caption"], "image_path"
    )


def _described(row: Row, root: Path, ident: str, prompt: str, answer: Any, image_key: str) -> Pair:
    images = read_paths(row.get(image_key) or (), root)
    return Pair(
        id=ident,
        prompt=with_placeholders(prompt, len(images)),
        images=_by_role(images, ()),
        responses=_responses(answer, None, []),
        provenance=Provenance(source="study release"),
    )


REPORT_PROMPT = "Write a detailed report based on the image."
CAPTION_PROMPT = (
    "Analyze the given medical image and provide a description, including relevant clinical findings, "
    "abnormalities, and potential diagnoses."
)

SHAPES: tuple[tuple[frozenset[str], Callable[[Row, Path, str], Pair]], ...] = (
    (frozenset({"prompt", "responses"}), _own),
    (frozenset({"prompt", "chosen"}), _trl),
    (frozenset({"conversations"}), _llava),
    (frozenset({"question"}), _question),
    (frozenset({"question_id", "text"}), _release_question),
    (frozenset({"report", "image_path"}), _release_report),
    (frozenset({"caption", "image_path"}), _release_caption),
    (frozenset({"chosen", "rejected"}), _trl_without_prompt),
)


def with_placeholders(question: str, images: int) -> str:
    """Put one ``<image>`` line for each image before a question that names none."""
    if IMAGE_PLACEHOLDER in question or images == 0:
        return question
    return f"{IMAGE_PLACEHOLDER}\n" * images + question


def _by_role(clean: tuple[Path, ...], rejected: tuple[Path, ...]) -> dict[ImageRole, tuple[Path, ...]]:
    roles = {ImageRole.CLEAN: clean, ImageRole.REJECTED: rejected}
    return {role: paths for role, paths in roles.items() if paths}


def _responses(chosen: Any, rejected: Any, asked: list[Message]) -> dict[ResponseRole, str]:
    """Return the answers to what was `asked`, each given as a text or as messages."""
    responses = {ResponseRole.CHOSEN: _answer(chosen, asked, "chosen")}
    if rejected is not None:
        responses[ResponseRole.REJECTED] = _answer(rejected, asked, "rejected")
    return responses


def _answer(value: Any, asked: list[Message], key: str) -> str:
    if isinstance(value, str | int | float):
        return str(value)
    return read_answer(read_chat(value, key), asked, key)


def _provenance(value: Any) -> Provenance:
    if value is None:
        return Provenance()
    given = read_mapping(value, "provenance")
    source = given.get("source") or "unknown"
    return Provenance(source, given.get("recipe"), given.get("seed"), given.get("licence"))
