"""The image's twin without the lesion, where the data has one."""

import string
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from medpref.errors import InputError
from medpref.files import UserPath
from medpref.pairs.images import image_size
from medpref.pairs.pair import ImageRole, Pair
from medpref.pairs.recipes.base import RecipeContext, note_recipe
from medpref.pairs.recipes.images.drawing import require_image

NAME = "erased"


class ErasedSettings(BaseModel):
    """Where the twins lie.

    Attributes:
        twin: the twin's file name; ``{stem}`` and ``{suffix}`` are the image's, such as ``scan-7`` and
            ``.png``. The phantoms' twins are named as the default says.
        folder: where the twins lie; beside their images by default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    twin: str = Field("{stem}-twin.png", min_length=1)
    folder: UserPath | None = None

    @field_validator("twin")
    @classmethod
    def _names_the_image(cls, value: str) -> str:
        try:
            fields = {field for _, field, _, _ in string.Formatter().parse(value) if field is not None}
        except ValueError as error:
            raise ValueError(f"this is no pattern: {error}") from None
        if "stem" not in fields or not fields <= {"stem", "suffix"}:
            raise ValueError("the pattern needs {stem}, may have {suffix}, and knows nothing else")
        return value

    def path(self, image: Path) -> Path:
        """Return where the twin of an image should lie."""
        return (self.folder or image.parent) / self.twin.format(stem=image.stem, suffix=image.suffix)


def erased(pairs: Sequence[Pair], settings: ErasedSettings, context: RecipeContext) -> list[Pair]:
    """Reject the image's twin, the same but for the lesion; the twin's own file is named.

    Pairs with an image that has no twin are left out: there is no lesion, or nobody erased it.

    Raises:
        InputError: a pair has no image, no pair has a twin, or a twin has another size than its image.
    """
    made = []
    for pair in pairs:
        images = require_image(pair, NAME)
        twins = tuple(settings.path(image) for image in images)
        if all(twin.is_file() for twin in twins):
            check_sizes(pair, images, twins)
            made.append(note_recipe(pair.with_images(ImageRole.REJECTED, twins), NAME, context.seed))
        else:
            context.leave_out(pair, NAME, "the image has no twin with the lesion erased")
        context.advance(1)
    if pairs and not made:
        raise InputError(
            "no image has a twin with the lesion erased",
            where=f"pair {pairs[0].id}",
            remedy=f"Looked for files such as {settings.path(images[0])}: set twin and folder, "
            "or use roi-inpaint.",
        )
    return made


def check_sizes(pair: Pair, images: Sequence[Path], twins: Sequence[Path]) -> None:
    """Raise `InputError` where a twin has another size, in pixels, than its image."""
    for image, twin in zip(images, twins, strict=True):
        own, other = image_size(image), image_size(twin)
        if own != other:
            raise InputError(
                f"the image is {own[0]} × {own[1]} pixels, its twin {other[0]} × {other[1]}",
                where=f"pair {pair.id}: {twin}",
            )
