"""The row shapes that people have on disk, each turned into a `Pair`.

A shape is recognised by its keys, once for each row, so that a file may mix them:

- medpref's own: ``{id, prompt, images: {clean, rejected}, responses: {chosen, rejected}, …}``
- TRL's preference format: ``{images, prompt, chosen, rejected}`` with texts or message lists
- LLaVA-style pairs: ``{id, image, [rejected_image], [weighted_score], conversations,
  rejected_conversations}``
- flat question rows: ``{question, image, chosen, rejected, …}`` or ``{question, answer, image, …}``
- the study release's own test files: VQA, MIMIC-CXR reports, AMBOSS captions
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medpref.pairs.pair import IMAGE_PLACEHOLDER, ImageRole, Pair, Provenance, ResponseRole

Row = Mapping[str, Any]


class RowError(ValueError):
    """A row that cannot become a pair; the message is the reason written to the quarantine file."""


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
        "no known shape: expected the keys prompt + responses, prompt + chosen, conversations, or question"
    )


def _own(row: Row, root: Path, fallback_id: str) -> Pair:
    images = _mapping(row.get("images") or {}, "images")
    responses = _mapping(row["responses"], "responses")
    return Pair(
        id=_id(row.get("id"), fallback_id),
        prompt=_text(row["prompt"], "prompt"),
        images={ImageRole(role): _paths(value, root) for role, value in images.items() if value},
        responses={
            ResponseRole(role): _text(value, role) for role, value in responses.items() if value is not None
        },
        weight=_weight(row.get("weight")),
        kind=_optional_text(row.get("kind"), "kind"),
        region=_paths(row["region"], root)[0] if row.get("region") else None,
        provenance=_provenance(row.get("provenance")),
    )


def _trl(row: Row, root: Path, fallback_id: str) -> Pair:
    """TRL's preference format: the images of a row belong to the prompt, in order."""
    images = _paths(row.get("images") or row.get("image") or (), root)
    rejected = _paths(row.get("rejected_images") or row.get("rejected_image") or (), root)
    return Pair(
        id=_id(row.get("id"), fallback_id),
        prompt=_message_text(row["prompt"]),
        images=_by_role(images, rejected),
        responses=_responses(row["chosen"], row.get("rejected")),
        weight=_weight(row.get("weight")),
        kind=_optional_text(row.get("kind"), "kind"),
        provenance=Provenance(source="trl"),
    )


def _llava(row: Row, root: Path, fallback_id: str) -> Pair:
    """LLaVA-style: alternating turns, the response is the last turn; the rejected turns repeat the prompt."""
    turns = row["conversations"]
    if not isinstance(turns, list) or len(turns) < 2:
        raise RowError("conversations needs a human and a gpt turn")
    if len(turns) > 2:
        raise RowError(f"{len(turns)} turns: only one question with one answer is supported")
    rejected_turns = row.get("rejected_conversations")
    return Pair(
        id=_id(row.get("id"), fallback_id),
        prompt=_text(turns[0].get("value"), "conversations"),
        images=_by_role(_paths(row.get("image") or (), root), _paths(row.get("rejected_image") or (), root)),
        responses=_responses(
            turns[-1].get("value"), rejected_turns[-1].get("value") if rejected_turns else None
        ),
        weight=_weight(row.get("weighted_score", row.get("weight"))),
        kind=_optional_text(row.get("kind"), "kind"),
        provenance=Provenance(source="llava"),
    )


def _question(row: Row, root: Path, fallback_id: str) -> Pair:
    """A flat row; a question without ``<image>`` gets one placeholder for each image, in front."""
    images = _paths(row.get("image") or (), root)
    question = _text(row["question"], "question")
    chosen = row["chosen"] if "chosen" in row else row.get("answer")
    if chosen is None:
        raise RowError("neither chosen nor answer is given")
    return Pair(
        id=_id(row.get("id", row.get("qid")), fallback_id),
        prompt=with_placeholders(question, len(images)),
        images=_by_role(images, _paths(row.get("rejected_image") or (), root)),
        responses=_responses(chosen, row.get("rejected")),
        weight=_weight(row.get("weight", row.get("weighted_score"))),
        kind=_optional_text(row.get("kind"), "kind"),
        provenance=Provenance(source="questions"),
    )


def _release_question(row: Row, root: Path, fallback_id: str) -> Pair:
    """The study release's VQA rows: ``{question_id, image, text, gpt4_answer, answer_type}``."""
    answer = row.get("gpt4_answer", row.get("answer"))
    if answer is None:
        raise RowError("no gpt4_answer is given")
    return _described(
        row, root, _id(row["question_id"], fallback_id), _text(row["text"], "text"), answer, "image"
    )


def _release_report(row: Row, root: Path, fallback_id: str) -> Pair:
    """The study release's MIMIC-CXR rows, ``{id, report, image_path: […]}``, with the study's prompt."""
    return _described(row, root, _id(row.get("id"), fallback_id), REPORT_PROMPT, row["report"], "image_path")


def _release_caption(row: Row, root: Path, fallback_id: str) -> Pair:
    """The study release's AMBOSS rows, ``{image_path, caption}``, with the study's prompt."""
    return _described(
        row, root, _id(row.get("id"), fallback_id), CAPTION_PROMPT, row["caption"], "image_path"
    )


def _described(row: Row, root: Path, ident: str, prompt: str, answer: Any, image_key: str) -> Pair:
    images = _paths(row.get(image_key) or (), root)
    return Pair(
        id=ident,
        prompt=with_placeholders(prompt, len(images)),
        images=_by_role(images, ()),
        responses=_responses(answer, None),
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
)


def with_placeholders(question: str, images: int) -> str:
    """Put one ``<image>`` line for each image before a question that names none."""
    if IMAGE_PLACEHOLDER in question or images == 0:
        return question
    return f"{IMAGE_PLACEHOLDER}\n" * images + question


def _by_role(clean: tuple[Path, ...], rejected: tuple[Path, ...]) -> dict[ImageRole, tuple[Path, ...]]:
    roles = {ImageRole.CLEAN: clean, ImageRole.REJECTED: rejected}
    return {role: paths for role, paths in roles.items() if paths}


def _responses(chosen: Any, rejected: Any) -> dict[ResponseRole, str]:
    responses = {ResponseRole.CHOSEN: _message_text(chosen)}
    if rejected is not None:
        responses[ResponseRole.REJECTED] = _message_text(rejected)
    return responses


def _message_text(value: Any) -> str:
    """Return the text of a string or of TRL's message list; image parts become placeholders."""
    if isinstance(value, str | int | float):
        return str(value)
    if not isinstance(value, list) or not value or not isinstance(value[-1], Mapping):
        raise RowError(f"expected a text or a list of messages, found {type(value).__name__}")
    if len(value) > 1:
        raise RowError(f"{len(value)} messages: only one question with one answer is supported")
    content = value[-1].get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RowError("a message needs a content")
    parts = [
        f"{IMAGE_PLACEHOLDER}\n" if part.get("type") == "image" else _text(part.get("text"), "text")
        for part in content
    ]
    return "".join(parts)


def _text(value: Any, key: str) -> str:
    # Integer and Boolean answers occur in published files.
    if isinstance(value, str | int | float):
        return str(value)
    raise RowError(f"{key} must be a text, this is {type(value).__name__}")


def _optional_text(value: Any, key: str) -> str | None:
    return None if value is None else _text(value, key)


def _id(value: Any, fallback: str) -> str:
    return fallback if value is None else str(value)


def _weight(value: Any) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise RowError(f"the weight {value!r} is no number") from None


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RowError(f"{key} must map roles to values, this is {type(value).__name__}")
    return value


def _paths(value: Any, root: Path) -> tuple[Path, ...]:
    """Accept one path, a list of paths, or Hugging Face's ``{"path": …}``; relative ones start at `root`."""
    values = value if isinstance(value, list | tuple) else (value,)
    names = [item.get("path") if isinstance(item, Mapping) else item for item in values]
    if not all(isinstance(name, str) and name for name in names):
        raise RowError("images must be given by path")
    return tuple(root / str(name) for name in names)


def _provenance(value: Any) -> Provenance:
    if value is None:
        return Provenance()
    given = _mapping(value, "provenance")
    source = given.get("source") or "unknown"
    return Provenance(source, given.get("recipe"), given.get("seed"), given.get("licence"))
