"""The one record that flows through everything: a prompt with its images and responses by role."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from medpref.files import relative_to

IMAGE_PLACEHOLDER = "<image>"


class ImageRole(StrEnum):
    """Which version of a pair's image a cell looks at."""

    CLEAN = "clean"
    REJECTED = "rejected"


class ResponseRole(StrEnum):
    """Which of a pair's responses a cell scores."""

    CHOSEN = "chosen"
    REJECTED = "rejected"


class Turn(NamedTuple):
    """An earlier question of a conversation and its answer; only the last answer is learned."""

    user: str
    assistant: str


class Change(NamedTuple):
    """One fact of the chosen response that the rejected one has wrong.

    Attributes:
        error: the kind of the error, such as ``side``.
        start, end: where the wrong words stand in the rejected response, in characters.
        was: the words of the chosen response.
        now: the words of the rejected response; equal to its characters from `start` to `end`.
    """

    error: str
    start: int
    end: int
    was: str
    now: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a pair comes from: data source, recipes, seed and licence."""

    source: str = "unknown"
    recipe: str | None = None
    seed: int | None = None
    licence: str | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """One prompt with images and responses by role.

    A supervised example is a pair without rejected parts. The prompt holds one ``<image>`` for each image of
    a role; the rejected images stand in the same places as the clean ones.

    Attributes:
        id: unique within its file.
        prompt: the user's text, ``<image>`` placeholders included.
        images: image files by role, in the order of their placeholders.
        responses: texts by role.
        weight: clinical relevance of the pair, or None where nobody gave one.
        kind: the question kind, such as ``"presence"``.
        region: a mask file of the region of interest, where one is known.
        provenance: where the pair comes from.
        history: earlier turns of the conversation; their ``<image>`` stand for the first images.
        changes: what the rejected response has wrong, where that is known.
    """

    id: str
    prompt: str
    images: dict[ImageRole, tuple[Path, ...]] = field(default_factory=dict)
    responses: dict[ResponseRole, str] = field(default_factory=dict)
    weight: float | None = None
    kind: str | None = None
    region: Path | None = None
    provenance: Provenance = Provenance()
    history: tuple[Turn, ...] = ()
    changes: tuple[Change, ...] = ()

    @property
    def placeholders(self) -> int:
        """How many ``<image>`` the conversation holds."""
        texts = (*(turn.user for turn in self.history), self.prompt)
        return sum(text.count(IMAGE_PLACEHOLDER) for text in texts)

    @property
    def image_key(self) -> str:
        """The clean images' files, as one string: pairs with equal keys show the same images."""
        return "|".join(str(path) for path in self.images.get(ImageRole.CLEAN, ()))

    def with_response(self, role: ResponseRole, text: str) -> "Pair":
        """Return a copy whose response in `role` is `text`; what was known to be wrong in another is gone."""
        return replace(self, responses={**self.responses, role: text}, changes=())

    def with_images(self, role: ImageRole, images: tuple[Path, ...]) -> "Pair":
        """Return a copy whose images in `role` are `images`."""
        return replace(self, images={**self.images, role: images})

    def to_row(self, root: Path, within: Path | None = None) -> dict[str, Any]:
        """Return the pair as a JSON object whose files are relative to `root` where they lie below it.

        So are those below `within`, by way of ``..``, where that is given.
        """
        row: dict[str, Any] = {
            "id": self.id,
            "prompt": self.prompt,
            "images": {
                str(role): [relative_to(path, root, within) for path in p] for role, p in self.images.items()
            },
            "responses": {str(role): text for role, text in self.responses.items()},
            "weight": self.weight,
            "kind": self.kind,
            "region": relative_to(self.region, root, within) if self.region else None,
            "provenance": {
                "source": self.provenance.source,
                "recipe": self.provenance.recipe,
                "seed": self.provenance.seed,
                "licence": self.provenance.licence,
            },
        }
        if self.history:
            row["history"] = [[turn.user, turn.assistant] for turn in self.history]
        if self.changes:
            row["changes"] = [change._asdict() for change in self.changes]
        return row
