"""Rows made of the fields that data sets have in common: questions, reports, conversations and pairs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from medpref.files import relative_to
from medpref.pairs.fields import RowError, read_text
from medpref.pairs.formats import parse_row, with_placeholders
from medpref.pairs.kinds import classify
from medpref.pairs.pair import ImageRole, Pair, Provenance, ResponseRole
from medpref.pairs.sources.pictures import Pictures
from medpref.pairs.sources.records import is_nothing
from medpref.pairs.sources.rows import Entry, Part, Row

YES_NO = ("yes", "no")
IMAGE_KEYS = ("image", "images", "image_path", "rejected_image", "rejected_images")


def text_of(values: Mapping[str, Any], *keys: str) -> str:
    """Return the first of `keys` that is there, as a text without blanks around it; empty for an empty cell.

    Raises:
        RowError: none is there, or the value is no text and no number.
    """
    for key in keys:
        if key in values:
            return "" if is_nothing(values[key]) else read_text(values[key], key).strip()
    raise RowError(f"there is no {' or '.join(keys)}")


@lru_cache(maxsize=100_000)
def kinds_of(question: str) -> tuple[str, ...]:
    """Return the kinds of a question by its words, the most certain first."""
    return tuple(kind.name for kind in classify(question))


def is_yes_or_no(answer: str) -> bool:
    """Tell whether an answer is yes or no and nothing else."""
    return answer.strip().rstrip(".").lower() in YES_NO


def cluster_of(images: Sequence[Path], pictures: Pictures) -> str:
    """Return the images' names from their folder on: the same wherever the folder is."""
    folders = [root for root in (*pictures.roots, pictures.folder) if root is not None]
    return "|".join(
        next((relative_to(path, root) for root in folders if path.is_relative_to(root)), str(path))
        for path in images
    )


def question_row(
    entry: Entry,
    provenance: Provenance,
    ident: str,
    question: str,
    answer: str,
    images: Sequence[Path],
    *,
    split: str | None = None,
    kinds: tuple[str, ...] | None = None,
    closed: bool | None = None,
    choices: tuple[str, ...] = (),
    rejected: str | None = None,
    weight: float | None = None,
    region: Path | None = None,
    patient: str | None = None,
    attributes: Mapping[str, object] | None = None,
) -> Row:
    """Return a question with its answer as a row.

    Args:
        entry: the record.
        provenance: of the pair.
        ident: unique within the data set.
        question: without or with ``<image>``.
        answer: the right one.
        images: their files.
        split: of the row, where its file does not tell it.
        kinds: where the data has them; by the question's words for None.
        closed: where the data says; whether the answer is yes or no for None.
        choices: the closed set of answers.
        rejected: a wrong answer, where the data has one.
        weight: of the pair, where the data has one.
        region: a mask file.
        patient: whom the images show.
        attributes: such as organ and modality; those that say nothing are left out.
    """
    kinds = kinds_of(question) if kinds is None else kinds
    responses = {ResponseRole.CHOSEN: answer} | (
        {} if rejected is None else {ResponseRole.REJECTED: rejected}
    )
    pair = Pair(
        id=ident,
        prompt=with_placeholders(question, len(images)),
        images={ImageRole.CLEAN: tuple(images)} if images else {},
        responses=responses,
        weight=weight,
        kind=kinds[0] if kinds else None,
        region=region,
        provenance=provenance,
    )
    return Row(
        pair,
        split or entry.split or "train",
        kinds,
        is_yes_or_no(answer) if closed is None else closed,
        choices,
        patient or cluster_of(images, entry.pictures) or ident,
        patient,
        {name: str(value).strip().lower() for name, value in (attributes or {}).items() if value},
    )


def parse_any(entry: Entry, provenance: Provenance, closed: bool | None = None) -> Iterator[Row]:
    """Read a row of any shape of `medpref.pairs.formats`; images may be bytes, or lie in any root.

    Raises:
        RowError: the row has no known shape, or a field of the wrong type.
    """
    pair = found_images(parse_row(with_paths(entry), Path(), f"line-{entry.record.line}"), entry.pictures)
    kinds = (pair.kind,) if pair.kind else kinds_of(pair.prompt)
    answer = pair.responses.get(ResponseRole.CHOSEN, "")
    licence = pair.provenance.licence or provenance.licence
    pair = replace(pair, kind=kinds[0], provenance=replace(provenance, licence=licence))
    cluster = cluster_of(pair.images.get(ImageRole.CLEAN, ()), entry.pictures) or pair.id
    yield Row(
        pair,
        entry.split or "train",
        kinds,
        is_yes_or_no(answer) if closed is None else closed,
        cluster=cluster,
    )


def with_paths(entry: Entry) -> dict[str, Any]:
    """Return a row's values with the images that it holds itself written to files."""
    values = dict(entry.values)
    for key in IMAGE_KEYS:
        held = values.get(key)
        items = held if isinstance(held, list) else [held]
        if any(
            isinstance(item, bytes) or (isinstance(item, Mapping) and item.get("bytes")) for item in items
        ):
            values[key] = [str(path) for path in entry.pictures.find(held)]
    return values


def _holds_bytes(item: Any) -> bool:
    return isinstance(item, bytes) or (isinstance(item, Mapping) and bool(item.get("bytes")))


def found_images(pair: Pair, pictures: Pictures) -> Pair:
    """Return a copy whose image paths start from the folders where the files are."""
    images = {role: pictures.find([str(path) for path in paths]) for role, paths in pair.images.items()}
    region = pictures.find(str(pair.region))[0] if pair.region else None
    return replace(pair, images=images, region=region)


def pair_parts(settings: Any, provenance: Provenance) -> list[Part]:
    """Return the file of preference pairs that the settings name, if any."""
    if settings.pairs is None:
        return []
    return [Part(settings.pairs, "train", lambda entry: parse_any(entry, provenance))]
