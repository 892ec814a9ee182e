"""Rows of LLaVA's conversations: each answer learned once, behind what was said before."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from medpref.pairs.conversations import Message, read_llava, split_answer, split_question
from medpref.pairs.fields import RowError
from medpref.pairs.formats import with_placeholders
from medpref.pairs.pair import IMAGE_PLACEHOLDER, ImageRole, Pair, Provenance, ResponseRole
from medpref.pairs.sources.questions import cluster_of, is_yes_or_no, kinds_of
from medpref.pairs.sources.rows import Entry, FolderSettings, Row

NO_SPLIT = "There is no official split: pictures were drawn for training, validation and test."
KEYS = ("conversations", "conversatons")
"""The second is what a part of the published files call it."""


class DialogueSettings(FolderSettings):
    """Where the folder is, and which conversations are read.

    Attributes:
        split: always drawn, since there is no official one.
        files: names of the JSON files; the usual one, or the only one there, if not given.
        turns: ``each`` learns every answer of a conversation, ``last`` only the last.
    """

    split: Literal["image-disjoint"] = "image-disjoint"
    files: tuple[str, ...] = ()
    turns: Literal["each", "last"] = "each"


def dialogue_rows(
    entry: Entry, provenance: Provenance, ident: str, images: Sequence[Path], turns: str
) -> Iterator[Row]:
    """Yield a row for each answer of a conversation, or for the last alone.

    Args:
        entry: the record.
        provenance: of the pairs.
        ident: of the conversation; rows of several answers get a number behind it.
        images: shown in the conversation; before the first question where no turn says ``<image>``.
        turns: ``each`` or ``last``.

    Raises:
        RowError: the conversation has another shape.
    """
    key = next((key for key in KEYS if key in entry.values), None)
    if key is None:
        raise RowError(f"there is no {KEYS[0]}")
    messages = _with_images(read_llava(entry.values[key], key), len(images))
    split_question(split_answer(messages, key)[0], key)  # the whole has to be sound before a part is used
    _check_count(messages, images)
    ends = range(2, len(messages) + 1, 2) if turns == "each" else (len(messages),)
    for end in ends:
        history, prompt = split_question(messages[: end - 1], key)
        shown = images[: sum(m.text.count(IMAGE_PLACEHOLDER) for m in messages[: end - 1])]
        pair = Pair(
            id=ident if len(ends) == 1 else f"{ident}-{end // 2}",
            prompt=prompt,
            images={ImageRole.CLEAN: tuple(shown)} if shown else {},
            responses={ResponseRole.CHOSEN: messages[end - 1].text.strip()},
            kind=kinds_of(prompt)[0],
            provenance=provenance,
            history=history,
        )
        yield Row(
            pair,
            entry.split or "train",
            kinds_of(prompt),
            is_yes_or_no(messages[end - 1].text),
            cluster=cluster_of(images, entry.pictures) or ident,
        )


def _with_images(messages: list[Message], images: int) -> list[Message]:
    if any(IMAGE_PLACEHOLDER in message.text for message in messages):
        return messages
    first, *rest = messages
    return [Message(first.speaker, with_placeholders(first.text, images)), *rest]


def _check_count(messages: Sequence[Message], images: Sequence[Path]) -> None:
    placeholders = sum(message.text.count(IMAGE_PLACEHOLDER) for message in messages)
    if placeholders != len(images):
        raise RowError(f"{placeholders} {IMAGE_PLACEHOLDER} in the conversation for {len(images)} images")
