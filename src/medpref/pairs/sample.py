"""What a task asks: a prompt on images, with the answer that is right."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medpref.errors import InputError
from medpref.files import read_jsonl, relative_to, write_jsonl
from medpref.pairs.pair import Turn


@dataclass(frozen=True, slots=True)
class Sample:
    """One question to be asked and scored.

    Attributes:
        id: unique within its task.
        prompt: the user's text with one ``<image>`` for each image that the history does not show.
        images: image files in the order of their placeholders.
        gold: the right answer.
        kinds: question kinds, the most certain first.
        closed: whether the question has a closed set of answers.
        choices: that set, where it is known.
        cluster: the image or patient that intervals are clustered by.
        region: a mask file of the region of interest, where one is known.
        history: earlier turns of the conversation.
        attributes: what else results are cut by, such as ``{"organ": "chest", "modality": "CT"}``.
    """

    id: str
    prompt: str
    images: tuple[Path, ...]
    gold: str
    kinds: tuple[str, ...] = ()
    closed: bool = False
    choices: tuple[str, ...] = ()
    cluster: str = ""
    region: Path | None = None
    history: tuple[Turn, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict, hash=False)

    def to_row(self, root: Path) -> dict[str, Any]:
        """Return the sample as a JSON object whose files are relative to `root` where they lie below it."""
        row: dict[str, Any] = {
            "id": self.id,
            "prompt": self.prompt,
            "images": [relative_to(path, root) for path in self.images],
            "gold": self.gold,
            "kinds": list(self.kinds),
            "closed": self.closed,
            "choices": list(self.choices),
            "cluster": self.cluster,
            "region": relative_to(self.region, root) if self.region else None,
        }
        if self.history:
            row["history"] = [[turn.user, turn.assistant] for turn in self.history]
        if self.attributes:
            row["attributes"] = dict(self.attributes)
        return row


def write_samples(path: Path, samples: Iterable[Sample]) -> None:
    """Write samples as JSONL, whole or not at all."""
    write_jsonl(path, [sample.to_row(path.parent) for sample in samples])


def read_samples(path: Path) -> list[Sample]:
    """Read what `write_samples` wrote.

    Raises:
        InputError: the file is missing or a line is broken; the message names it.
    """
    samples = []
    for line, row in read_jsonl(path):
        try:
            samples.append(_from_row(row, path.parent))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"this is no sample: {error}", where=f"{path}, line {line}") from None
    return samples


def _from_row(row: dict[str, Any], root: Path) -> Sample:
    region = row.pop("region", None)
    return Sample(
        **{
            **row,
            "images": tuple(root / image for image in row["images"]),
            "kinds": tuple(row["kinds"]),
            "choices": tuple(row["choices"]),
            "region": root / region if region else None,
            "history": tuple(Turn(user, assistant) for user, assistant in row.get("history", ())),
            "attributes": {str(name): str(value) for name, value in dict(row.get("attributes", {})).items()},
        }
    )
