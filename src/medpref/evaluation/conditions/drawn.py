"""Images that conditions draw: with the corruptions of rejected images, each once, named by content."""

from collections.abc import Sequence
from pathlib import Path

from medpref.evaluation.conditions.base import ConditionContext
from medpref.files import content_hash
from medpref.pairs.recipes.images import ImageSettings
from medpref.pairs.recipes.images.drawing import Drawing, Drawn, bytes_mark, draw
from medpref.pairs.recipes.images.workers import work_through
from medpref.pairs.sample import Sample


def drawing_of(
    sample: Sample, source: Path, corruption: str, settings: ImageSettings, context: ConditionContext
) -> Drawing:
    """Return what is to be drawn of one image.

    The file's name tells the image's and its region's bytes, the corruption, its settings and the seed, so
    that equal samples share a file.

    Args:
        sample: who shows it.
        source: the image.
        corruption: a name in `medpref.pairs.recipes.images.corruption.corruptions`.
        settings: of the corruption.
        context: where files go, and the seed.
    """
    said = settings.model_dump(mode="json")
    region = bytes_mark(sample.region)
    mark = content_hash(source.name, bytes_mark(source), region, context.seed, corruption, said)
    target = context.folder / f"{source.stem}-{mark}.png"
    return Drawing(corruption, source, sample.region, target, settings, context.seed, "", sample.id)


def draw_files(drawings: Sequence[Drawing], context: ConditionContext) -> dict[Path, Drawn]:
    """Draw each distinct file once, those that are there already not again; return what came of each.

    Raises:
        InputError: an image or a region cannot be read, or they differ in size.
        RunError: the disk is full or the folder cannot be written.
    """
    distinct = {drawing.target: drawing for drawing in drawings}
    outcomes = work_through(draw, list(distinct.values()), context.workers)
    return dict(zip(distinct, outcomes, strict=True))
