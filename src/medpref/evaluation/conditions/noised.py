"""Diffusion noise on the region of interest, and everywhere but there.

Both conditions are asked of the same samples: those with one image and a region that is neither empty nor
the whole image. What a model that looks at the region says survives noise outside of it, and does not survive
noise inside. The two noise different areas: a region is most often far smaller than what lies around it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from medpref.errors import InputError
from medpref.evaluation.conditions.base import Condition, ConditionContext, conditions
from medpref.evaluation.conditions.drawn import draw_files, drawing_of
from medpref.pairs.images import image_size
from medpref.pairs.recipes.images import RegionNoiseSettings
from medpref.pairs.regions import read_mask
from medpref.pairs.sample import Sample

# One setting for both: the noise of MMedPO (arXiv:2412.06141), step 500 of 1,000.
SETTINGS = RegionNoiseSettings(empty="leave-out")


def has_region(sample: Sample) -> bool:
    """Tell whether a sample shows one image, of which the region of interest is a part.

    Raises:
        InputError: a file cannot be read, or the region has another size than the image.
    """
    if len(sample.images) != 1 or sample.region is None:
        return False
    width, height = image_size(sample.images[0])
    try:
        region = read_mask(sample.region, height, width)
    except InputError as error:
        raise InputError(error.what, where=f"sample {sample.id}", remedy=error.remedy) from None
    return bool(region.any() and not region.all())


def _noised(corruption: str) -> Callable[[Sequence[Sample], ConditionContext], list[Sample]]:
    def show(samples: Sequence[Sample], context: ConditionContext) -> list[Sample]:
        known = {key: has_region(sample) for key, sample in {_key(s): s for s in samples}.items()}
        asked = [sample for sample in samples if known[_key(sample)]]
        drawings = [drawing_of(sample, sample.images[0], corruption, SETTINGS, context) for sample in asked]
        drawn = draw_files(drawings, context)
        return [
            replace(sample, images=(drawing.target,))
            for sample, drawing in zip(asked, drawings, strict=True)
            if drawn[drawing.target].reason is None
        ]

    return show


def _key(sample: Sample) -> tuple[object, ...]:
    return sample.images, sample.region


conditions.add(
    "roi-noise",
    Condition("diffusion noise inside the region of interest", _noised("roi-noise"), control="outside-noise"),
)
conditions.add(
    "outside-noise",
    Condition("diffusion noise everywhere but in the region of interest", _noised("outside-noise")),
)
