"""The image with one fact changed, so that the rejected response is right for it, where the data has one."""

import re
import string
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from medpref.errors import InputError
from medpref.files import UserPath
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.recipes.base import RecipeContext, note_recipe
from medpref.pairs.recipes.images.drawing import require_image
from medpref.pairs.recipes.images.erased import check_sizes

NAME = "counterfactual"


class CounterfactualSettings(BaseModel):
    """Where the changed images lie.

    Attributes:
        file: a changed image's file name. ``{stem}`` and ``{suffix}`` are the image's, such as ``scan-7`` and
            ``.png``, ``{kind}`` is the pair's question kind, and ``{answer}`` its rejected response in small
            letters with hyphens for what is no letter or digit. The phantoms' are named as the default says.
        folder: where they lie; beside their images by default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = "{stem}-{kind}-{answer}{suffix}"
    folder: UserPath | None = Field(None)

    @field_validator("file")
    @classmethod
    def _names_image_and_answer(cls, value: str) -> str:
        try:
            fields = {field for _, field, _, _ in string.Formatter().parse(value) if field is not None}
        except ValueError as error:
            raise ValueError(f"this is no pattern: {error}") from None
        if not {"stem", "answer"} <= fields <= {"stem", "suffix", "kind", "answer"}:
            raise ValueError(
                "the pattern needs {stem} and {answer}, may have {kind} and {suffix}, and knows nothing else"
            )
        return value

    def path(self, image: Path, kind: str, answer: str) -> Path:
        """Return where the image should lie that `answer` to a question of `kind` is right for."""
        said = re.sub(r"[^a-z0-9]+", "-", answer.casefold()).strip("-")
        name = self.file.format(stem=image.stem, suffix=image.suffix, kind=kind, answer=said)
        return (self.folder or image.parent) / Path(name).name


def counterfactual(
    pairs: Sequence[Pair], settings: CounterfactualSettings, context: RecipeContext
) -> list[Pair]:
    """Reject the image that the rejected response is right for; the image's own file is named.

    Pairs with an image that nobody changed so are left out.

    Raises:
        InputError: a pair has no image or no rejected response, no pair has a changed image, or one has
            another size than its image.
    """
    made = []
    for pair in pairs:
        images = require_image(pair, NAME)
        if ResponseRole.REJECTED not in pair.responses:
            raise InputError(
                "which fact is to be changed, the rejected response tells, and there is none",
                where=f"pair {pair.id}",
                remedy="Name a recipe for rejected_response, such as other-answer.",
            )
        answer = pair.responses[ResponseRole.REJECTED]
        changed = tuple(settings.path(image, pair.kind or "", answer) for image in images)
        if all(file.is_file() for file in changed):
            check_sizes(pair, images, changed)
            made.append(note_recipe(pair.with_images(ImageRole.REJECTED, changed), NAME, context.seed))
        else:
            context.leave_out(pair, NAME, "no image is there that the rejected response is right for")
        context.advance(1)
    if pairs and not made:
        raise InputError(
            "no image is there that a rejected response is right for",
            where=f"pair {pairs[0].id}",
            remedy=f"Looked for files such as {changed[0]}: set file and folder, or, with phantoms, "
            "counterfactuals in the study's data.",
        )
    return made
